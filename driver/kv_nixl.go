package driver

import (
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/nomad-vllm/nomad-vllm/vllm"
)

const sideChannelPort = "kv_transfer.side_channel_port"

// nixl fills in what is NIXL's own: where peers reach this engine's side
// channel, the lease and the transports.
func nixl(b *builder, kv *KVTransfer, cfg *vllm.KVTransferConfig) {
	p, err := b.port(sideChannelPort, kv.SideChannelPort)
	b.fail(err)
	if err == nil && kv.SideChannelPort == b.Task.Port {
		b.fail(fmt.Errorf(sideChannelPort+" %q is the HTTP port as well; add a port label of its own", kv.SideChannelPort))
	}
	host := p.HostIP
	if kv.SideChannelHost != "" {
		host = kv.SideChannelHost
		b.fail(checkSideChannelHost(host, p.HostIP))
	}
	// vLLM binds this address and tells it to its peers, verbatim.
	b.plan.Env["VLLM_NIXL_SIDE_CHANNEL_HOST"] = host
	b.plan.Env["VLLM_NIXL_SIDE_CHANNEL_PORT"] = strconv.Itoa(p.Number)

	if kv.Lease != "" {
		d, err := time.ParseDuration(kv.Lease)
		if err != nil || d < time.Second {
			b.fail(fmt.Errorf("kv_transfer.lease %q: want a duration of at least 1s, \"30s\" for example", kv.Lease))
		}
		cfg.Extra["kv_lease_duration"] = int(d / time.Second)
	}
	if len(kv.Backends) > 0 {
		cfg.Extra["backends"] = kv.Backends
	}
	if cfg.Role == vllm.KVBoth {
		b.Notes = append(b.Notes, `kv_role "kv_both" is deprecated in vLLM for NIXL connectors; it works, but give prefill and decode groups of their own`)
	}
}

// checkSideChannelHost refuses what peers on other nodes would connect to
// themselves with.
func checkSideChannelHost(host, own string) error {
	ip := net.ParseIP(host)
	if ip != nil && ip.IsUnspecified() {
		return fmt.Errorf("kv_transfer.side_channel_host %q: peers are told this address and cannot connect to it; leave it out for the port's own, %s", host, own)
	}
	loopback := host == "localhost" || ip != nil && ip.IsLoopback()
	if ownIP := net.ParseIP(own); loopback && ownIP != nil && !ownIP.IsLoopback() {
		return fmt.Errorf("kv_transfer.side_channel_host %q: peers on other nodes would connect to themselves; leave it out for the port's own, %s", host, own)
	}
	return nil
}

// extraConfig reads the pass-through settings. HCL attributes of one block
// have one type, so a number comes as "4": what parses as JSON is passed as
// JSON, the rest as the string that it is.
func extraConfig(in map[string]string) map[string]any {
	out := map[string]any{}
	for k, v := range in {
		if json.Valid([]byte(v)) {
			out[k] = json.RawMessage(v)
		} else {
			out[k] = v
		}
	}
	return out
}
