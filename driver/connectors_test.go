package driver

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/vllm"
)

// cluster is a situation with every port that a connector may ask for.
func cluster(role string, kv KVTransfer) situation {
	return good(func(s *situation) {
		s.Task.Role, s.Task.KVTransfer, s.SecretsDir = role, &kv, "/secrets"
		if kv.Connector == vllm.LMCacheConnectorV1 {
			s.GPUs = gpus{1, "0"} // without one it caches nothing
		}
		for i, label := range []string{"init", "init_1", "alloc", "alloc_1", "bootstrap", "lmcache"} {
			s.Ports = append(s.Ports, port{label, "10.0.0.7", 7300 + i})
		}
	})
}

func sender() *LMCachePD { return &LMCachePD{ProxyHost: "10.0.0.9", ProxyPort: 7500} }

func receiver() *LMCachePD {
	return &LMCachePD{InitPorts: []string{"init"}, AllocPorts: []string{"alloc"}}
}

// The one prefill and the one decode of LMCache up to 0.3.6.
func onlySender() *LMCachePD { return &LMCachePD{ReceiverHost: "10.0.0.8", ReceiverPort: 7300} }

func onlyReceiver() *LMCachePD { return &LMCachePD{InitPorts: []string{"init"}} }

// laterRanks is the second node of a prefill that spans two.
func laterRanks() situation {
	s := cluster("prefill", KVTransfer{Connector: vllm.MooncakeConnector, Mooncake: &Mooncake{BootstrapPort: "bootstrap"}})
	s.Task.Args = []string{"--headless", "--data-parallel-size=4", "--data-parallel-size-local=2", "--data-parallel-start-rank=2", "--data-parallel-address=10.0.0.6", "--data-parallel-rpc-port=13345"}
	return s
}

// goldenCases is one situation for each connector and LMCache generation.
func goldenCases() map[string]situation {
	store := &MooncakeStore{MasterServerAddress: "10.0.0.5:50051", Protocol: "rdma", DeviceName: "mlx5_0", GlobalSegmentSize: "4GiB",
		LocalBufferSize: "1GiB", Settings: map[string]string{"enable_offload": "true"}}
	lmStore := *store
	lmStore.Settings, lmStore.TransferTimeout = nil, "2s"
	nixl := KVTransfer{Connector: vllm.NixlConnector, SideChannelPort: "nixl", Lease: "60s", Backends: []string{"UCX", "LIBFABRIC"}, KVBufferSize: "2GiB", KVBufferDevice: "cuda"}
	push := nixl
	push.Connector, push.EngineID = vllm.NixlPushConnector, "p-0"
	pull := nixl
	pull.Connector = vllm.NixlPullConnector
	mp := KVTransfer{Connector: vllm.LMCacheMPConnector, LMCacheMP: &LMCacheMP{Port: "lmcache", Timeout: "300s", Heartbeat: "10s"}}
	cases := map[string]situation{
		"nixl":                    cluster("prefill", nixl),
		"nixl-pull":               cluster("decode", pull),
		"nixl-push":               cluster("prefill", push),
		"lmcache-mp":              cluster("both", mp),
		"mooncake-prefill":        cluster("prefill", KVTransfer{Connector: vllm.MooncakeConnector, Mooncake: &Mooncake{BootstrapPort: "bootstrap", Protocol: "tcp", Workers: 4, AbortTimeout: "2m"}}),
		"mooncake-decode":         cluster("decode", KVTransfer{Connector: vllm.MooncakeConnector}),
		"mooncake-later-ranks":    laterRanks(),
		"mooncake-store":          cluster("both", KVTransfer{Connector: vllm.MooncakeStoreConnector, MooncakeStore: store}),
		"offloading":              cluster("both", KVTransfer{Connector: vllm.OffloadingConnector, Offloading: &Offloading{CPUSize: "64GiB", BlockSize: 64, EvictionPolicy: "lru"}}),
		"multi":                   cluster("prefill", KVTransfer{Connector: vllm.MultiConnector, EngineID: "p-0", Parts: []KVTransfer{{Connector: vllm.NixlConnector, SideChannelPort: "nixl"}, mp}}),
		"raw":                     cluster("decode", KVTransfer{Connector: vllm.FlexKVConnectorV1, Extra: map[string]string{"depth": "3", "list": "[1, 2.5]", "name": "x"}}),
		"raw-module":              cluster("decode", KVTransfer{Connector: "AcmeConnector", ModulePath: "acme.kv"}),
		"lmcache-local":           cluster("both", KVTransfer{Connector: vllm.LMCacheConnectorV1, LMCache: &LMCache{Version: "0.5.3", MaxLocalCPUSize: "20GiB", LocalDisk: "file:///local/kv", MaxLocalDiskSize: "512MiB"}}),
		"lmcache-store":           cluster("decode", KVTransfer{Connector: vllm.LMCacheConnectorV1, LMCache: &LMCache{Version: "0.5.3", ChunkSize: 256, ExtraConfig: map[string]string{"save_chunk_meta": "false"}}, MooncakeStore: &lmStore}),
		"lmcache-version-unknown": cluster("decode", KVTransfer{Connector: vllm.LMCacheConnectorV1, LMCache: &LMCache{PD: receiver()}}),
	}
	several := map[string]*LMCachePD{"prefill": sender(), "decode": receiver()}
	one := map[string]*LMCachePD{"prefill": onlySender(), "decode": onlyReceiver()}
	for generation, sides := range map[string]map[string]*LMCachePD{
		"0.3.2": one, "0.3.3": one, "0.3.6": one, "0.3.3-xpyd": several, "0.3.6-xpyd": several, "0.3.7": several, "0.5.6": several,
	} {
		version, _, _ := strings.Cut(generation, "-")
		for role, side := range sides {
			cases["lmcache-"+generation+"-"+role] = cluster(role, KVTransfer{
				Connector: vllm.LMCacheConnectorV1, LMCache: &LMCache{Version: version, PD: side, ChunkSize: 256},
				Extra: map[string]string{"discard_partial_chunks": "false", "lmcache_rpc_port": "producer1"},
			})
		}
	}
	return cases
}

func TestConnectors_goldenFiles(t *testing.T) {
	for name, s := range goldenCases() {
		t.Run(name, func(t *testing.T) {
			p, err := newPlan(s)
			require.NoError(t, err)
			path := filepath.Join("testdata", "connectors", name+".golden")
			if os.Getenv("UPDATE_GOLDEN") != "" {
				require.NoError(t, os.WriteFile(path, []byte(describe(p)), 0o644))
			}
			want, err := os.ReadFile(path)
			require.NoError(t, err, "run with UPDATE_GOLDEN=1 and read what it wrote")
			require.Equal(t, string(want), describe(p))
		})
	}
	files, err := filepath.Glob("testdata/connectors/*.golden")
	require.NoError(t, err)
	require.Len(t, files, len(goldenCases()), "a golden file that nothing compares")
}

// Every connector of the table has a golden file.
func TestConnectors_allHaveAGoldenFile(t *testing.T) {
	var seen []string
	for _, s := range goldenCases() {
		seen = append(seen, s.Task.KVTransfer.Connector)
	}
	for name := range connectors() {
		require.Contains(t, seen, name)
	}
}

// What peers are told is the address that Nomad chose, unless the job knows better.
func TestMooncake_tellsPeersThePortsAddress(t *testing.T) {
	s := cluster("prefill", KVTransfer{Connector: vllm.MooncakeConnector, Mooncake: &Mooncake{BootstrapPort: "bootstrap"}})
	for i := range s.Ports {
		if s.Ports[i].Label == "bootstrap" {
			s.Ports[i].HostIP = "192.168.7.1"
		}
	}
	p, err := newPlan(s)
	require.NoError(t, err)
	require.Equal(t, "192.168.7.1", p.Env["VLLM_HOST_IP"])

	s.Env = map[string]string{"VLLM_HOST_IP": "192.168.9.9"}
	p, err = newPlan(s)
	require.NoError(t, err)
	require.Equal(t, "192.168.9.9", p.Env["VLLM_HOST_IP"])
}

func describe(p plan) string {
	var b strings.Builder
	for _, a := range p.Argv {
		fmt.Fprintf(&b, "%s\n", a)
	}
	b.WriteString("\n")
	for _, k := range slices.Sorted(maps.Keys(p.Env)) {
		fmt.Fprintf(&b, "%s=%s\n", k, p.Env[k])
	}
	for _, n := range p.Notes {
		fmt.Fprintf(&b, "\nnote: %s\n", n)
	}
	for _, f := range p.Files {
		fmt.Fprintf(&b, "\n%s:\n%s", f.Path, f.Content)
	}
	return b.String()
}
