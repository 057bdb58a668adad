package driver

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nomad-vllm/nomad-vllm/vllm"
)

// condition is when a row of the known-bad table holds.
type condition struct {
	text string // for the documentation
	// holds also says what was found, "vLLM 0.32.0".
	holds func(*builder) (found string, ok bool)
}

// all holds if each of them does.
func all(conditions ...condition) condition {
	var texts []string
	for _, c := range conditions {
		texts = append(texts, c.text)
	}
	return condition{strings.Join(texts, "; "), func(b *builder) (string, bool) {
		var found []string
		for _, c := range conditions {
			f, ok := c.holds(b)
			if !ok {
				return "", false
			}
			found = append(found, f)
		}
		return strings.Join(found, ", "), true
	}}
}

// usedConnector is a connector that a task's engine will have.
type usedConnector struct {
	name         string
	role         vllm.KVRole
	bufferDevice string
	bufferSize   int64
	extra        map[string]any
}

func used(cfg vllm.KVTransferConfig) usedConnector {
	return usedConnector{cfg.Connector, cfg.Role, cfg.BufferDevice, cfg.BufferSize, cfg.Extra}
}

// uses holds if one of the named connectors is used.
func uses(names ...string) condition {
	return anyConnector(strings.Join(names, " or "), func(u usedConnector) (string, bool) {
		return u.name, slices.Contains(names, u.name)
	})
}

// usesAs holds if one of them is used in that role.
func usesAs(role vllm.KVRole, names ...string) condition {
	return anyConnector(strings.Join(names, " or ")+" as "+string(role), func(u usedConnector) (string, bool) {
		return u.name + " as " + string(u.role), slices.Contains(names, u.name) && u.role == role
	})
}

func anyConnector(text string, is func(usedConnector) (string, bool)) condition {
	return condition{text, func(b *builder) (string, bool) {
		for _, u := range b.connectorsUsed() {
			if found, ok := is(u); ok {
				return found, true
			}
		}
		return "", false
	}}
}

// connectorsUsed are those of the kv_transfer block, or of the user's own flag.
func (b *builder) connectorsUsed() []usedConnector {
	raw, own := argValue(b.Task.Args, "--kv-transfer-config")
	if b.Task.KVTransfer != nil || !own {
		return b.used
	}
	var cfg vllm.KVTransferConfig
	if json.Unmarshal([]byte(raw), &cfg) != nil {
		return nil // in pieces, or a mistake that the engine reports
	}
	out := []usedConnector{used(cfg)}
	var parts []vllm.KVTransferConfig
	if list, err := json.Marshal(cfg.Extra["connectors"]); err == nil && json.Unmarshal(list, &parts) == nil {
		for _, p := range parts {
			out = append(out, used(p))
		}
	}
	return out
}

// has holds if a package's version is known and within the bounds.
func has(pkg, bounds string) condition {
	name := map[string]string{"vllm": "vLLM", "lmcache": "LMCache", "nixl": "NIXL", "mooncake": "Mooncake", "torch": "PyTorch"}[pkg]
	return condition{name + " " + bounds, func(b *builder) (string, bool) {
		version := b.version(pkg)
		r, known := parseRelease(version)
		if !known {
			return "", false
		}
		in, err := r.in(bounds)
		b.fail(err) // a mistake in the table, found by its test
		return name + " " + version, in
	}}
}

// version is that of an installed package, empty if it is not known. What is
// read from the disk counts more than what was written by hand.
func (b *builder) version(pkg string) string {
	if v := b.Versions[pkg]; v != "" || pkg != "lmcache" {
		return v
	}
	if b.lmcacheGiven != "" {
		return b.lmcacheGiven
	}
	return b.LMCacheVersion
}

// accelerators are the variables that give an engine devices which Nomad has
// not reserved by a device block.
func accelerators() []string {
	return []string{"CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"}
}

func noGPU() condition {
	return when("no GPU", func(b *builder) bool {
		return !b.GPUs.Reserved() && !slices.ContainsFunc(accelerators(), func(name string) bool { return b.plan.Env[name] != "" })
	})
}

// when holds if the text is true.
func when(text string, is func(*builder) bool) condition {
	return condition{text, func(b *builder) (string, bool) { return text, is(b) }}
}

func ignoredKeys() condition {
	return condition{"settings of LMCache that its version ignores", func(b *builder) (string, bool) {
		if b.ignoredKeys == nil {
			return "", false
		}
		return strings.ReplaceAll(b.ignoredKeys.Error(), "\n", "; "), true
	}}
}

func storeWithoutAddress() condition {
	return when("a mooncakestore:// remote_url without mooncake_master_server_addr", func(b *builder) bool {
		url, _ := b.lmcacheSettings["remote_url"].(string)
		extra, _ := b.lmcacheSettings["extra_config"].(map[string]any)
		_, set := extra["mooncake_master_server_addr"]
		return strings.HasPrefix(url, "mooncakestore://") && !set
	})
}

func asyncSender() condition {
	return when("pd on a prefill, pd_backend_mode async", func(b *builder) bool {
		return b.lmcacheSettings["pd_role"] == "sender" && b.lmcacheSettings["pd_backend_mode"] != "sync"
	})
}

func without(flag string) condition {
	return when("without "+flag, func(b *builder) bool { _, found := findArg(b.Argv, flag); return !found })
}

func flagged(flag string) condition {
	return when(flag, func(b *builder) bool { _, found := findArg(b.Argv, flag); return found })
}

func env(name string) condition {
	return when("env "+name, func(b *builder) bool { _, set := b.plan.Env[name]; return set })
}

func pipeline() condition {
	return when("pipeline_parallel_size over 1", func(b *builder) bool { return b.flagSize("--pipeline-parallel-size", "-pp") > 1 })
}

func severalRanks() condition {
	return when("tensor_parallel_size over 1", func(b *builder) bool { return b.flagSize("--tensor-parallel-size", "-tp") > 1 })
}

// flagSize is a size on the command line; 1 where there is none.
func (b *builder) flagSize(flags ...string) int {
	v, _ := argValue(b.Argv, flags...)
	if n, err := strconv.Atoi(v); err == nil {
		return n
	}
	return 1
}

func extraIs(key, value string) condition {
	return anyConnector(key+" = "+value, func(u usedConnector) (string, bool) {
		return key + " = " + value, strings.EqualFold(fmt.Sprint(u.extra[key]), value)
	})
}

func bufferDevice(device string) condition {
	return anyConnector("kv_buffer_device "+device, func(u usedConnector) (string, bool) {
		return "kv_buffer_device " + device, u.bufferDevice == device
	})
}

func bufferSize() condition {
	return anyConnector("kv_buffer_size", func(u usedConnector) (string, bool) { return "kv_buffer_size", u.bufferSize != 0 })
}

func severalNixl() condition {
	return when("MultiConnector with two NIXL connectors", func(b *builder) bool {
		n := 0
		for _, u := range b.connectorsUsed() {
			if strings.HasPrefix(u.name, "Nixl") {
				n++
			}
		}
		return n > 1
	})
}

func allocConf(setting string) condition {
	return when(setting+" for PyTorch's allocator", func(b *builder) bool {
		return strings.Contains(b.plan.Env["PYTORCH_CUDA_ALLOC_CONF"]+","+b.plan.Env["PYTORCH_ALLOC_CONF"], setting)
	})
}

func mig() condition {
	return when("a MIG instance", func(b *builder) bool { return strings.Contains(b.GPUs.Visible, "MIG-") })
}
