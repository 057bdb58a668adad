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
	// tensor-parallel rank. LMCache up to 0.3.6 has init ports only, one after
	// the other.
	InitPorts  []string `codec:"init_ports"`
	AllocPorts []string `codec:"alloc_ports"`
	// ProxyHost and ProxyPort are where a prefill tells that KV has been sent:
	// the router's. Since 0.3.7.
	ProxyHost string `codec:"proxy_host"`
	ProxyPort int    `codec:"proxy_port"`
	// ReceiverHost and ReceiverPort are the one decode that a prefill sends to.
	// Up to 0.3.6.
	ReceiverHost string `codec:"receiver_host"`
	ReceiverPort int    `codec:"receiver_port"`
	// BufferSize is the staging buffer, the same on both sides. Default 1GiB.
	BufferSize string `codec:"buffer_size"`
	// BufferDevice is cuda (the default) or cpu.
	BufferDevice string `codec:"buffer_device"`
	// EnableGC frees what was received. Up to 0.3.6; newer ones do it always.
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
	if l.version.ReadsPDKeys() {
		l.current(side, size, device)
	} else {
		l.old(side, size, device)
	}
}

// current are the keys since 0.3.7.
func (l *lmcacheFile) current(side string, size int64, device string) {
	l.out["enable_pd"], l.out["transfer_channel"], l.out["pd_role"] = true, "nixl", side
	l.out["pd_buffer_size"], l.out["pd_buffer_device"] = size, device
	if l.PD.EnableGC != nil {
		l.Notes = append(l.Notes, fmt.Sprintf("kv_transfer.lmcache.pd.enable_gc is left out: LMCache %s has no such setting", l.version))
	}
	if side == "receiver" {
		init, host := l.workerPorts("init_ports", l.PD.InitPorts)
		alloc, _ := l.workerPorts("alloc_ports", l.PD.AllocPorts)
		l.out["pd_peer_host"], l.out["pd_peer_init_port"], l.out["pd_peer_alloc_port"] = host, init, alloc
		return
	}
	if l.PD.ProxyHost == "" || l.PD.ProxyPort == 0 {
		l.fail(fmt.Errorf("kv_transfer.lmcache.pd: LMCache %s tells the router that KV was sent; set proxy_host and proxy_port to where it listens", l.version))
	}
	l.out["pd_proxy_host"], l.out["pd_proxy_port"] = l.PD.ProxyHost, l.PD.ProxyPort
}

// old are the keys up to 0.3.6: one prefill sends to one decode.
func (l *lmcacheFile) old(side string, size int64, device string) {
	l.out["enable_nixl"], l.out["nixl_role"] = true, side
	l.out["nixl_buffer_size"], l.out["nixl_buffer_device"] = size, device
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
		l.fail(fmt.Errorf("kv_transfer.lmcache.pd: LMCache %s sends to one decode; set receiver_host and receiver_port to it", l.version))
	}
	l.out["nixl_receiver_host"], l.out["nixl_receiver_port"] = l.PD.ReceiverHost, l.PD.ReceiverPort
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
