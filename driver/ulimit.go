package driver

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
	"github.com/nomad-vllm/nomad-vllm/vllm"
)

// ulimitKind is one resource limit that a task may set.
type ulimitKind struct {
	resource int
	bytes    bool   // takes sizes, "8GiB"
	least    uint64 // what neither an engine nor its supervisor can do without
}

// ulimitKinds are named as docker names them. The rest has no use for an
// engine (cpu, rss, fsize) or kills it: CUDA reserves more address space than
// any sensible "as" or "data", and resources.memory is what limits memory.
func ulimitKinds() map[string]ulimitKind {
	return map[string]ulimitKind{
		"core":       {resource: unix.RLIMIT_CORE, bytes: true},
		"memlock":    {resource: unix.RLIMIT_MEMLOCK, bytes: true},
		"msgqueue":   {resource: unix.RLIMIT_MSGQUEUE, bytes: true},
		"nice":       {resource: unix.RLIMIT_NICE},
		"nofile":     {resource: unix.RLIMIT_NOFILE, least: 256},
		"nproc":      {resource: unix.RLIMIT_NPROC, least: 64},
		"rtprio":     {resource: unix.RLIMIT_RTPRIO},
		"sigpending": {resource: unix.RLIMIT_SIGPENDING},
		"stack":      {resource: unix.RLIMIT_STACK, bytes: true, least: 1 << 20},
	}
}

// The engine's own limits where nobody sets any.
const (
	// maxFiles bounds the default: the most that Linux gives without a sysctl.
	maxFiles = 1 << 20
	nofile   = "nofile"
	memlock  = "memlock"
)

// defaultUlimits are as high as the agent may set them. They never fail a task.
func defaultUlimits(transfers bool) map[string]shim.Rlimit {
	out := map[string]shim.Rlimit{
		// Each client, each peer and each CUDA IPC handle is a file; the usual
		// soft limit of 1024 fails an engine that has served well for hours.
		nofile: {Soft: maxFiles, Hard: maxFiles},
	}
	if transfers {
		// RDMA registers the whole KV cache, and without CAP_IPC_LOCK that
		// counts as locked memory: ibv_reg_mr fails beyond the usual 8 MiB.
		out[memlock] = shim.Rlimit{Soft: shim.Unlimited, Hard: shim.Unlimited}
	}
	return out
}

// ulimits decides the engine's limits: the task's, else the node's, else the
// defaults, none above what the operator allows.
func ulimits(node, ceiling, task map[string]string, transfers bool) ([]shim.Rlimit, error) {
	chosen := defaultUlimits(transfers)
	var errs []error
	allowed, err := parseUlimits("ulimit_max", ceiling)
	errs = append(errs, err)
	nodes, err := parseUlimits("ulimit", node)
	errs = append(errs, err)
	tasks, err := parseUlimits("ulimit", task)
	errs = append(errs, err)
	maps.Copy(chosen, nodes)
	for name, top := range allowed {
		l, ok := chosen[name]
		if ok {
			l.Soft, l.Hard = min(l.Soft, top.Hard), min(l.Hard, top.Hard)
			chosen[name] = l
		}
	}
	for name, l := range tasks {
		if top, ok := allowed[name]; ok && l.Hard > top.Hard {
			errs = append(errs, fmt.Errorf("ulimit %s = %q: this node allows %q at most (ulimit_max of plugin \"nomad-driver-vllm\"); ask for less", name, task[name], ceiling[name]))
		}
		chosen[name] = l
	}
	kinds := ulimitKinds()
	out := make([]shim.Rlimit, 0, len(chosen))
	for _, name := range slices.Sorted(maps.Keys(chosen)) {
		l := chosen[name]
		l.Name, l.Resource = name, kinds[name].resource
		out = append(out, l)
	}
	return out, errors.Join(errs...)
}

// parseUlimits reads a ulimit block: "1048576", "unlimited", "8GiB", or the
// soft and the hard limit as "65536:1048576".
func parseUlimits(block string, values map[string]string) (map[string]shim.Rlimit, error) {
	kinds := ulimitKinds()
	out := map[string]shim.Rlimit{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		kind, ok := kinds[name]
		if !ok {
			errs = append(errs, fmt.Errorf("%s %s: no such limit here (have %s); for memory set resources.memory",
				block, name, strings.Join(slices.Sorted(maps.Keys(kinds)), ", ")))
			continue
		}
		l, err := kind.parse(values[name])
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %s = %q: %w", block, name, values[name], err))
			continue
		}
		out[name] = l
	}
	return out, errors.Join(errs...)
}

func (k ulimitKind) parse(text string) (shim.Rlimit, error) {
	softText, hardText, both := strings.Cut(text, ":")
	if !both {
		hardText = softText
	}
	soft, softErr := k.number(softText)
	hard, hardErr := k.number(hardText)
	switch {
	case softErr != nil || hardErr != nil:
		example := `"65536"`
		if k.bytes {
			example = `"8GiB"`
		}
		return shim.Rlimit{}, fmt.Errorf(`want %s, "unlimited", or a soft and a hard limit with a colon between them`, example)
	case soft > hard:
		return shim.Rlimit{}, errors.New("the soft limit is above the hard one; swap them")
	case soft < k.least:
		return shim.Rlimit{}, fmt.Errorf("an engine needs at least %d", k.least)
	}
	return shim.Rlimit{Soft: soft, Hard: hard, Must: true}, nil
}

func (k ulimitKind) number(text string) (uint64, error) {
	text = strings.TrimSpace(text)
	if text == "unlimited" || text == "-1" {
		return shim.Unlimited, nil
	}
	if n, err := strconv.ParseUint(text, 10, 64); err == nil || !k.bytes {
		return n, err
	}
	n, err := vllm.ParseSize(text)
	return uint64(n), err
}
