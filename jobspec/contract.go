package jobspec

import "slices"

// DriverName is the task driver that starts vLLM servers.
const DriverName = "vllm"

// GPUDevice is the device request name of NVIDIA's device plugin.
const GPUDevice = "nvidia/gpu"

// ConfigKeys are the keys of a vllm task's config block, in the order of the
// reference. They repeat what the driver's own schema says, because job files
// are checked without linking the driver; a test in the module's root compares
// the two.
func ConfigKeys() []string {
	return []string{"model", "role", "port", "command", "args", KVTransferBlock}
}

// KVTransferBlock is the block inside config that describes the KV handoff.
const KVTransferBlock = "kv_transfer"

// KVTransferKeys are the keys of the kv_transfer block; see ConfigKeys.
func KVTransferKeys() []string { return []string{"connector", "side_channel_port"} }

// ownedFlags are the vLLM flags that the driver writes itself, each with what
// to write in the job file instead.
var ownedFlags = [...]struct{ flag, instead string }{
	{"--model", "config.model"},
	{"--host", "nothing: the driver passes the address of the port label"},
	{"--port", "config.port, a port label of the group's network"},
	{"--kv-transfer-config", "config.role and the kv_transfer block"},
	{"--uds", "config.port: the router reaches servers over TCP only"},
}

// OwnedFlag reports whether the driver writes this vLLM argument itself, and
// what belongs in the job file instead. It knows "--flag=value", "--flag" and
// vLLM's dotted form "--kv-transfer-config.kv_role".
func OwnedFlag(arg string) (flag, instead string, owned bool) {
	name := FlagName(arg)
	i := slices.IndexFunc(ownedFlags[:], func(o struct{ flag, instead string }) bool { return o.flag == name })
	if i < 0 {
		return "", "", false
	}
	return name, ownedFlags[i].instead, true
}
