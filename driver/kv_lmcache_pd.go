package driver

import (
	"errors"
	"fmt"

	"github.com/hashicorp/nomad/plugins/shared/hclspec"

	"github.com/nomad-vllm/nomad-vllm/vllm"
)

// LMCachePD is lmcache's pd block. A prefill sends and a decode receives.
type LMCachePD struct {
	// InitPorts and AllocPorts label a decode's ports, one of each for every
	// tensor-parallel rank. Up to 0.3.6 without alloc ports: the one decode of
	// one prefill, which listens on the first init port + rank.
	InitPorts  []string `codec:"init_ports"`
	AllocPorts []string `codec:"alloc_ports"`
	// ProxyHost and ProxyPort are where a prefill tells that KV has been sent:
	// the router's. Since 0.3.3.
	ProxyHost string `codec:"proxy_host"`
	ProxyPort int    `codec:"proxy_port"`
	// ReceiverHost and ReceiverPort are the one decode that a prefill sends to,
	// instead of the proxy. Up to 0.3.6.
	ReceiverHost string `codec:"receiver_host"`
	ReceiverPort int    `codec:"receiver_port"`
	// BufferSize is the staging buffer, the same on both sides. Default 1GiB.
	BufferSize string `codec:"buffer_size"`
	// BufferDevice is cuda (the default) or cpu.
	BufferDevice string `codec:"buffer_device"`
	// EnableGC frees what was received. Up to 0.3.6 with one decode; the others
	// do it always.
	EnableGC *bool `codec:"enable_gc"`
}

func lmcachePDSpec() *hclspec.Spec {
	return object(map[string]string{
		"init_ports": "list(string)", "alloc_ports": "list(string)", "proxy_host": "string", "proxy_port": "number",
		"receiver_host": "string", "receiver_port": "number", "buffer_size": "string", "buffer_device": "string", "enable_gc": "bool",
	}, nil)
}

// pd writes the hand-over in the keys that the installed version reads: it
// ignores the other generation's, and the decode then computes every prompt.
func (l *lmcacheFile) pd() {
	side := map[vllm.KVRole]string{vllm.KVProducer: "sender", vllm.KVConsumer: "receiver"}[l.role]
	if side == "" {
		l.fail(errors.New(`kv_transfer.lmcache.pd: LMCache either sends or receives; set role = "prefill" or "decode"`))
	}
	size, device := int64(vllm.GiB), "cuda"
	if l.PD.BufferSize != "" {
		size = l.size("lmcache.pd.buffer_size", l.PD.BufferSize)
	}
	switch l.PD.BufferDevice {
	case "":
	case "cuda", "cpu":
		device = l.PD.BufferDevice
	default:
		l.fail(fmt.Errorf(`kv_transfer.lmcache.pd.buffer_device %q: want "cuda" or "cpu"`, l.PD.BufferDevice))
	}
	prefix := "nixl"
	if l.version.ReadsPDKeys() {
		prefix = "pd"
		l.current(side)
	} else {
		l.old(side)
	}
	l.out[prefix+"_buffer_size"], l.out[prefix+"_buffer_device"] = size, device
}

// current are the keys since 0.3.7.
func (l *lmcacheFile) current(side string) {
	l.out["enable_pd"], l.out["transfer_channel"], l.out["pd_role"] = true, "nixl", side
	l.anyDecode(side, "pd")
	if l.PD.ReceiverHost != "" || l.PD.ReceiverPort != 0 {
		l.fail(fmt.Errorf("kv_transfer.lmcache.pd.receiver_host and receiver_port: LMCache %s learns the decode from each request; remove them", l.version))
	}
}

// anyDecode are the settings of several decodes, where each request names its
// own: pd_* since 0.3.7, nixl_* of the same meaning since 0.3.3.
func (l *lmcacheFile) anyDecode(side, prefix string) {
	if l.PD.EnableGC != nil {
		l.Notes = append(l.Notes, fmt.Sprintf("kv_transfer.lmcache.pd.enable_gc is left out: LMCache %s does not read it with several decodes", l.version))
	}
	if side == "receiver" {
		init, host := l.workerPorts("init_ports", l.PD.InitPorts)
		alloc, _ := l.workerPorts("alloc_ports", l.PD.AllocPorts)
		l.out[prefix+"_peer_host"], l.out[prefix+"_peer_init_port"], l.out[prefix+"_peer_alloc_port"] = host, init, alloc
		return
	}
	if l.PD.ProxyHost == "" || l.PD.ProxyPort == 0 {
		l.fail(fmt.Errorf("kv_transfer.lmcache.pd: LMCache %s tells the router that KV was sent; set proxy_host and proxy_port to where it listens", l.version))
	}
	l.out[prefix+"_proxy_host"], l.out[prefix+"_proxy_port"] = l.PD.ProxyHost, l.PD.ProxyPort
}

// old are the keys up to 0.3.6.
func (l *lmcacheFile) old(side string) {
	l.out["enable_nixl"], l.out["nixl_role"] = true, side
	if !l.severalDecodes(side) {
		l.oneDecode(side)
		return
	}
	l.out["enable_xpyd"] = true
	l.anyDecode(side, "nixl")
}

// severalDecodes reports which of the two ways of 0.3.3 to 0.3.6 is meant:
// both sides must go the same way, so each shows it in the settings that it
// cannot do without.
func (l *lmcacheFile) severalDecodes(side string) bool {
	several, one := l.PD.ProxyHost != "" || l.PD.ProxyPort != 0, l.PD.ReceiverHost != "" || l.PD.ReceiverPort != 0
	if side == "receiver" {
		several, one = len(l.PD.AllocPorts) > 0, false
	}
	switch {
	case several && one:
		l.fail(fmt.Errorf("kv_transfer.lmcache.pd: LMCache %s sends to the decode of receiver_host or, with proxy_host, to any; remove the settings of one", l.version))
	case several && !l.version.Reads("enable_xpyd"):
		l.fail(fmt.Errorf("kv_transfer.lmcache.pd: LMCache %s knows one decode only; set init_ports on it and receiver_host on the prefill, without alloc_ports and proxy_host", l.version))
	}
	return several
}

// oneDecode are the settings of one prefill that sends to one decode.
func (l *lmcacheFile) oneDecode(side string) {
	if !l.version.Reads("enable_xpyd") {
		l.nothingElse()
	}
	l.out["nixl_enable_gc"] = l.PD.EnableGC == nil || *l.PD.EnableGC
	if side == "receiver" {
		p, err := l.port("kv_transfer.lmcache.pd.init_ports", first(l.PD.InitPorts))
		l.fail(err)
		for r := 1; err == nil && r < l.tensorParallel(); r++ {
			if !l.hasPort(p.Number + r) {
				l.fail(fmt.Errorf("kv_transfer.lmcache.pd.init_ports: LMCache %s listens on %q %d + tensor-parallel rank; reserve %d too: port \"%s_%d\" { static = %d }",
					l.version, p.Label, p.Number, p.Number+r, p.Label, r, p.Number+r))
			}
		}
		l.out["nixl_receiver_host"], l.out["nixl_receiver_port"] = p.HostIP, p.Number
		return
	}
	if l.PD.ReceiverHost == "" || l.PD.ReceiverPort == 0 {
		want := "set receiver_host and receiver_port to it"
		if l.version.Reads("enable_xpyd") {
			want += ", or proxy_host and proxy_port for several"
		}
		l.fail(fmt.Errorf("kv_transfer.lmcache.pd: LMCache %s sends to one decode; %s", l.version, want))
	}
	l.out["nixl_receiver_host"], l.out["nixl_receiver_port"] = l.PD.ReceiverHost, l.PD.ReceiverPort
}

// nothingElse keeps nothing on this node: up to 0.3.2 LMCache ends the engine
// at its start unless the file says so.
func (l *lmcacheFile) nothingElse() {
	if l.LocalCPU != nil && *l.LocalCPU || l.MaxLocalCPUSize != "" || l.LocalDisk != "" {
		l.fail(fmt.Errorf("kv_transfer.lmcache: LMCache %s with pd keeps nothing in memory or on disk; remove local_cpu, max_local_cpu_size and local_disk", l.version))
	}
	l.out["max_local_cpu_size"] = 0
}

// workerPorts are the numbers of the labelled ports, one for each
// tensor-parallel rank: with fewer, LMCache fails at the first request.
func (l *lmcacheFile) workerPorts(setting string, labels []string) (numbers []int, host string) {
	setting = "kv_transfer.lmcache.pd." + setting
	if need := l.tensorParallel(); len(labels) != need {
		l.fail(fmt.Errorf("%s has %d port labels, but tensor_parallel_size %d needs %d", setting, len(labels), need, need))
	}
	for _, label := range labels {
		p, err := l.port(setting, label)
		l.fail(err)
		numbers = append(numbers, p.Number)
		if host == "" {
			host = p.HostIP
		}
	}
	return numbers, host
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}
