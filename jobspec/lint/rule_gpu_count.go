package lint

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/nomad-vllm/nomad-vllm/jobspec"
)

// checkGPUCount compares the GPUs that Nomad reserves with those that vLLM's
// parallel sizes use. Too few and vLLM does not start; too many and the rest
// stand idle, reserved.
func checkGPUCount(j *job, r *reporter) {
	for _, s := range j.servers {
		if !s.ours {
			continue
		}
		uses, usesKnown := s.gpus()
		reserved, at, known := reservedGPUs(s.task)
		switch {
		case !known:
		case reserved == 0 && usesKnown && uses > 1:
			r.errorf(at, fmt.Sprintf("add device %q { count = %d } to resources", jobspec.GPUDevice, uses),
				"task %q reserves no GPU, and vLLM's parallel sizes use %d", s.task.name, uses)
		case reserved == 0:
			r.warnf(at, fmt.Sprintf("add device %q { count = 1 } to resources, unless the node's vLLM runs on CPU", jobspec.GPUDevice),
				"task %q reserves no GPU", s.task.name)
		case usesKnown && reserved != uses:
			r.errorf(at, fmt.Sprintf("write count = %d, or tensor_parallel_size = %d in config", uses, reserved),
				"task %q reserves %s, and vLLM's parallel sizes (tensor times pipeline times data) use %d", s.task.name, gpuCount(reserved), uses)
		}
	}
}

func gpuCount(n int) string {
	if n == 1 {
		return "1 GPU"
	}
	return fmt.Sprintf("%d GPUs", n)
}

// reservedGPUs sums the counts of a task's GPU devices. known is false if one
// of them cannot be known before run time.
func reservedGPUs(t *task) (n int, at hcl.Range, known bool) {
	resources := t.first("resources")
	at = t.at
	if resources.present() {
		at = resources.at
	}
	for _, d := range resources.blocks("device") {
		if !isGPU(d.label()) {
			continue
		}
		at = d.at
		count := d.attr("count")
		if !count.set {
			n++ // Nomad's default
			continue
		}
		c, ok := count.number()
		if !ok {
			return 0, at, false
		}
		n, at = n+c, count.at
	}
	return n, at, true
}

// isGPU reads Nomad's device names: TYPE, VENDOR/TYPE or VENDOR/TYPE/MODEL.
func isGPU(name string) bool {
	parts := strings.Split(name, "/")
	if len(parts) > 1 {
		parts = parts[1:]
	}
	return parts[0] == "gpu"
}
