package driver

import (
	"fmt"
	"strconv"

	"github.com/hashicorp/nomad/plugins/shared/hclspec"

	"github.com/nomad-vllm/nomad-vllm/vllm"
)

// Mooncake is the mooncake block: KV from prefill to decode over Mooncake's
// transfer engine.
type Mooncake struct {
	// BootstrapPort labels the port on which decodes find a prefill's workers,
	// one for all data-parallel ranks. Required unless the role is decode.
	BootstrapPort string `codec:"bootstrap_port"`
	// Protocol is rdma (Mooncake's default) or tcp.
	Protocol string `codec:"protocol"`
	// DeviceName picks RDMA devices. Default: all.
	DeviceName string `codec:"device_name"`
	// Workers is the number of sending threads. 0: 10.
	Workers int `codec:"workers"`
	// AbortTimeout is how long a prefill keeps KV that nobody fetches. Default 480s.
	AbortTimeout string `codec:"abort_timeout"`
}

func mooncakeSpec() *hclspec.Spec {
	return object(map[string]string{"bootstrap_port": "string", "protocol": "string", "device_name": "string",
		"workers": "number", "abort_timeout": "string"}, nil)
}

// hostIP is the variable with what MooncakeConnector tells its peers.
const hostIP = "VLLM_HOST_IP"

func mooncake(b *builder, kv *KVTransfer, cfg *vllm.KVTransferConfig) {
	var m Mooncake
	if kv.Mooncake != nil {
		m = *kv.Mooncake
	}
	own, _ := b.port("port", b.Task.Port) // reported with the HTTP port
	if cfg.Role != vllm.KVConsumer || m.BootstrapPort != "" {
		p, err := b.port("kv_transfer.mooncake.bootstrap_port", m.BootstrapPort)
		b.fail(err)
		b.plan.Env["VLLM_MOONCAKE_BOOTSTRAP_PORT"] = strconv.Itoa(p.Number)
		if err == nil && m.BootstrapPort == b.Task.Port {
			b.fail(fmt.Errorf("kv_transfer.mooncake.bootstrap_port %q is the HTTP port as well; add a port label of its own", m.BootstrapPort))
		}
		b.laterRanks(p)
		own = p
	}
	// Without it vLLM tells its peers the address of the default route, which
	// on a node with several networks need not be the one that Nomad chose.
	if _, set := b.plan.Env[hostIP]; !set && own.HostIP != "" {
		b.plan.Env[hostIP] = own.HostIP
	}
	b.fail(checkProtocol("mooncake", m.Protocol))
	setText(cfg.Extra, "mooncake_protocol", m.Protocol)
	setText(cfg.Extra, "device_name", m.DeviceName)
	if m.Workers != 0 {
		cfg.Extra["num_workers"] = m.Workers
	}
	timeout := map[string]any{}
	b.seconds(timeout, "s", "mooncake.abort_timeout", m.AbortTimeout)
	if s, ok := timeout["s"]; ok {
		b.plan.Env["VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT"] = fmt.Sprint(s)
	}
}

// laterRanks tells of a port that cannot be checked from here. The first node
// of a data-parallel group has the one bootstrap server, unlike NIXL's port
// for each rank, and the others look for it under the number that they are
// given themselves. With a balancer of its own each node has one.
func (b *builder) laterRanks(p port) {
	for _, own := range []string{"--data-parallel-rank", "-dpn", "--data-parallel-external-lb", "-dpe", "--data-parallel-hybrid-lb", "-dph"} {
		if _, ok := findArg(b.Task.Args, own); ok {
			return
		}
	}
	if first, _ := b.dataParallelRanks(); first > 0 {
		b.Notes = append(b.Notes, fmt.Sprintf("data-parallel ranks from %d on register at port %d of the first node; "+
			"make kv_transfer.mooncake.bootstrap_port %q static, with the same number there", first, p.Number, p.Label))
	}
}

func checkProtocol(block, protocol string) error {
	switch protocol {
	case "", "rdma", "tcp":
		return nil
	}
	return fmt.Errorf(`kv_transfer.%s.protocol %q: want "rdma" or "tcp"`, block, protocol)
}
