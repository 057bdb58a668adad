package driver

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// owned are the flags that follow from other settings of the task. Given
// twice, the last one would win in the engine while Nomad, Consul and the
// peers went by the first.
func (b *builder) owned() []struct{ flag, setting string } {
	t := b.Task
	list := []struct{ flag, setting string }{
		{"--model", fmt.Sprintf("model = %q", t.Model)},
		{"--host", fmt.Sprintf("the address of port label %q", t.Port)},
		{"--port", fmt.Sprintf("port = %q", t.Port)},
		{"--uds", fmt.Sprintf("port = %q", t.Port)},
	}
	if t.KVTransfer != nil {
		list = append(list, struct{ flag, setting string }{"--kv-transfer-config", "the kv_transfer block"})
	}
	for _, s := range b.parallel() {
		if s.typed != 0 {
			list = append(list, struct{ flag, setting string }{s.flag, fmt.Sprintf("%s = %d", s.setting, s.typed)})
		}
	}
	return list
}

func (b *builder) ownedArgs() error {
	var errs []error
	for _, o := range b.owned() {
		if arg, found := spelled(b.Task.Args, o.flag); found {
			errs = append(errs, fmt.Errorf("args has %q, but the driver sets %s from %s; remove it from args", arg, o.flag, o.setting))
		}
	}
	return errors.Join(errs...)
}

// findArg finds the last occurrence of a flag, which is the one that counts.
func findArg(args []string, flags ...string) (int, bool) {
	for i := len(args) - 1; i >= 0; i-- {
		if slices.Contains(flags, normalFlag(args[i])) {
			return i, true
		}
	}
	return 0, false
}

// argValue is the value of a flag, given as --flag=value or --flag value.
func argValue(args []string, flags ...string) (string, bool) {
	i, ok := findArg(args, flags...)
	if !ok {
		return "", false
	}
	if _, v, ok := strings.Cut(args[i], "="); ok {
		return v, true
	}
	if i+1 < len(args) {
		return args[i+1], true
	}
	return "", true
}

// parallelSize is one of the sizes that multiply to the number of GPUs.
type parallelSize struct {
	setting string
	flag    string
	aliases []string
	typed   int
}

func (b *builder) parallel() []parallelSize {
	t := b.Task
	return []parallelSize{
		{"tensor_parallel_size", "--tensor-parallel-size", []string{"-tp"}, t.TensorParallelSize},
		{"pipeline_parallel_size", "--pipeline-parallel-size", []string{"-pp"}, t.PipelineParallelSize},
		{"data_parallel_size", "--data-parallel-size", []string{"-dp"}, t.DataParallelSize},
	}
}

// sizes writes the typed sizes and compares their product with the GPUs that
// Nomad reserved: too few and the engine dies after minutes with an error
// about CUDA ordinals, too many and they idle unseen.
func (b *builder) sizes() {
	need, terms := 1, []string(nil)
	for _, s := range b.parallel() {
		if s.typed < 0 {
			b.fail(fmt.Errorf("%s = %d: want at least 1", s.setting, s.typed))
			continue
		}
		n := s.typed
		if n != 0 {
			b.flag(s.flag, strconv.Itoa(n))
		} else if v, ok := argValue(b.Task.Args, append(s.aliases, s.flag)...); ok {
			var err error
			if n, err = strconv.Atoi(v); err != nil || n < 1 {
				b.fail(fmt.Errorf("args: %s %q: want a whole number of at least 1", s.flag, v))
				continue
			}
		}
		if n > 1 {
			need *= n
			terms = append(terms, fmt.Sprintf("%s %d", s.setting, n))
		}
	}
	if b.spansNodes() {
		return
	}
	b.fail(compareGPUs(need, b.GPUs.Count, terms))
	b.fail(b.unreserved())
}

// unreserved refuses to start an engine that would take a GPU which Nomad may
// have given to somebody else: with nothing said, CUDA shows it all of them.
// An allocation that the agent restarts before the device plugin has reported
// is such a case, and a moment later it is not, so Nomad should try again.
func (b *builder) unreserved() error {
	_, chosen := b.situation.Env["CUDA_VISIBLE_DEVICES"]
	if b.GPUs.Reserved() || b.NodeGPUs == 0 || chosen {
		return nil
	}
	return &recoverable{fmt.Errorf("Nomad reserved no GPU, but this node has %s: add device \"nvidia/gpu\" {} to the task's resources, or env { CUDA_VISIBLE_DEVICES = \"\" } to run without",
		countGPUs(b.NodeGPUs))}
}

// spansNodes reports whether some of the engine's GPUs are elsewhere, so that
// this task's share cannot be told from its flags.
func (b *builder) spansNodes() bool {
	if v, ok := argValue(b.Task.Args, "--distributed-executor-backend"); ok && v != "mp" && v != "uni" {
		return true
	}
	_, found := findArg(b.Task.Args, "--nnodes", "-n", "--data-parallel-size-local", "-dpl")
	return found
}

func compareGPUs(need, have int, terms []string) error {
	if need == have || have == 0 && need == 1 { // an engine on CPU; see unreserved
		return nil
	}
	what := strings.Join(terms, " x ")
	if what == "" {
		what = "tensor_parallel_size 1"
	}
	err := fmt.Errorf("%s needs %s but Nomad reserved %s: set device \"nvidia/gpu\" { count = %d } or %s",
		what, countGPUs(need), reserved(have), need, sizeFor(have))
	if have < need {
		// An allocation that the agent restarts before the device plugin has
		// reported gets too few; a moment later it does not.
		return &recoverable{err}
	}
	return err
}

func countGPUs(n int) string {
	if n == 1 {
		return "1 GPU"
	}
	return fmt.Sprintf("%d GPUs", n)
}

func reserved(n int) string {
	if n == 0 {
		return "none"
	}
	return strconv.Itoa(n)
}

func sizeFor(have int) string {
	return fmt.Sprintf("tensor_parallel_size = %d", max(have, 1))
}
