package driver

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

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

	if err == nil {
		b.fail(b.rankPorts(p))
	}
	b.seconds(cfg.Extra, "kv_lease_duration", "lease", kv.Lease)
	if kv.Connector == vllm.NixlPushConnector && cfg.Role != vllm.KVConsumer && kv.EngineID == "" {
		// The decode is told this name before the prefill has answered anything.
		b.fail(errors.New(`kv_transfer.engine_id: not set; NixlPushConnector needs a name that the router knows beforehand, "${NOMAD_ALLOC_ID}" for example`))
	}
	if len(kv.Backends) > 0 {
		cfg.Extra["backends"] = kv.Backends
	}
}

// checkSideChannelHost refuses what peers on other nodes cannot connect to. A
// name is looked up later, when the plan is made.
func checkSideChannelHost(host, own string) error {
	ownAddr, _ := netip.ParseAddr(own) // none: the port is missing, and reported
	addr, err := netip.ParseAddr(host)
	if host == "localhost" {
		addr, err = netip.IPv6Loopback(), nil
	}
	if err != nil {
		return nil
	}
	if why := unreachable(addr, ownAddr); why != "" {
		return fmt.Errorf("kv_transfer.side_channel_host %q: %s; leave it out for the port's own, %s", host, why, own)
	}
	return nil
}

// rankPorts checks that the group has reserved a port for each data-parallel
// rank: vLLM adds the rank to the port it is given, and what another task was
// given on this node would be listened on, or refuse it, at random.
func (b *builder) rankPorts(base port) error {
	first, ranks := b.dataParallelRanks()
	var missing, blocks []string
	for r := first; r < first+ranks; r++ {
		if n := base.Number + r; !b.hasPort(n) {
			missing = append(missing, strconv.Itoa(n))
			blocks = append(blocks, fmt.Sprintf("port \"%s_%d\" { static = %d }", base.Label, r, n))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("data-parallel ranks %d to %d listen on %s %d + rank, but the group's network has not reserved %s; "+
		"make %q static and add %s", first, first+ranks-1, sideChannelPort, base.Number, strings.Join(missing, ", "), base.Label, strings.Join(blocks, " "))
}

func (b *builder) hasPort(number int) bool {
	for _, p := range b.Ports {
		if p.Number == number && p.Label != b.Task.Port {
			return true
		}
	}
	return false
}

// dataParallelRanks are the ranks that this task runs: the first and how many.
func (b *builder) dataParallelRanks() (first, ranks int) {
	number := func(def int, flags ...string) int {
		if v, ok := argValue(b.Task.Args, flags...); ok {
			if n, err := strconv.Atoi(v); err == nil && n >= 0 {
				return n
			}
		}
		return def
	}
	if rank := number(-1, "--data-parallel-rank", "-dpn"); rank >= 0 {
		return rank, 1
	}
	size := max(b.Task.DataParallelSize, 1)
	size = number(size, "--data-parallel-size", "-dp")
	size = number(size, "--data-parallel-size-local", "-dpl")
	return number(0, "--data-parallel-start-rank", "-dpr"), size
}
