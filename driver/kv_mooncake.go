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
	// BootstrapPort labels the port on which decodes find a prefill's workers.
	// Required unless the role is decode.
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

func mooncake(b *builder, kv *KVTransfer, cfg *vllm.KVTransferConfig) {
	var m Mooncake
	if kv.Mooncake != nil {
		m = *kv.Mooncake
	}
	if cfg.Role != vllm.KVConsumer || m.BootstrapPort != "" {
		p, err := b.port("kv_transfer.mooncake.bootstrap_port", m.BootstrapPort)
		b.fail(err)
		b.plan.Env["VLLM_MOONCAKE_BOOTSTRAP_PORT"] = strconv.Itoa(p.Number)
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

func checkProtocol(block, protocol string) error {
	switch protocol {
	case "", "rdma", "tcp":
		return nil
	}
	return fmt.Errorf(`kv_transfer.%s.protocol %q: want "rdma" or "tcp"`, block, protocol)
}
