package driver

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/vllm"
)

func lmcacheWith(change func(*LMCache)) KVTransfer {
	l := &LMCache{Version: "0.5.3", PD: receiver()}
	change(l)
	return KVTransfer{Connector: vllm.LMCacheConnectorV1, LMCache: l}
}

// connectorMistakes are mistakes in a kv_transfer block, by what is said of them.
func connectorMistakes() map[string]situation {
	nixl := KVTransfer{Connector: vllm.NixlConnector, SideChannelPort: "nixl"}
	storeWith := func(m MooncakeStore) KVTransfer {
		return KVTransfer{Connector: vllm.MooncakeStoreConnector, MooncakeStore: &m}
	}
	return map[string]situation{
		`kv_transfer.kv_buffer_size "big": want a size such as "1GiB"`:                                                                                   cluster("decode", KVTransfer{Connector: vllm.NixlConnector, SideChannelPort: "nixl", KVBufferSize: "big"}),
		`kv_transfer.engine_id: not set; NixlPushConnector needs a name`:                                                                                 cluster("prefill", KVTransfer{Connector: vllm.NixlPushConnector, SideChannelPort: "nixl"}),
		`kv_transfer.lmcache: NixlConnector does not read it (it is for LMCacheConnectorV1)`:                                                             cluster("decode", KVTransfer{Connector: vllm.NixlConnector, SideChannelPort: "nixl", LMCache: &LMCache{}}),
		`kv_transfer.lease: MooncakeConnector does not read it (it is for Nixl)`:                                                                         cluster("decode", KVTransfer{Connector: vllm.MooncakeConnector, Lease: "30s"}),
		`kv_transfer.mooncake.bootstrap_port: not set; name a port label`:                                                                                cluster("prefill", KVTransfer{Connector: vllm.MooncakeConnector}),
		`kv_transfer.mooncake.bootstrap_port "http" is the HTTP port as well; add a port label of its own`:                                               cluster("prefill", KVTransfer{Connector: vllm.MooncakeConnector, Mooncake: &Mooncake{BootstrapPort: "http"}}),
		`kv_transfer.mooncake.protocol "ib": want "rdma" or "tcp"`:                                                                                       cluster("decode", KVTransfer{Connector: vllm.MooncakeConnector, Mooncake: &Mooncake{Protocol: "ib"}}),
		`kv_transfer.mooncake.abort_timeout "5": want a duration`:                                                                                        cluster("decode", KVTransfer{Connector: vllm.MooncakeConnector, Mooncake: &Mooncake{AbortTimeout: "5"}}),
		`kv_transfer.mooncake_store.master_server_address "": want host:port of mooncake_master`:                                                         cluster("both", KVTransfer{Connector: vllm.MooncakeStoreConnector}),
		`kv_transfer.mooncake_store.protocol "x": want`:                                                                                                  cluster("both", storeWith(MooncakeStore{MasterServerAddress: "m:1", Protocol: "x"})),
		`kv_transfer.mooncake_store.local_buffer_size "x": want a size`:                                                                                  cluster("both", storeWith(MooncakeStore{MasterServerAddress: "m:1", LocalBufferSize: "x"})),
		`kv_transfer.mooncake_store.transfer_timeout "1s": only LMCache reads it`:                                                                        cluster("both", storeWith(MooncakeStore{MasterServerAddress: "m:1", TransferTimeout: "1s"})),
		`kv_transfer.offloading.cpu_size "": say how much memory`:                                                                                        cluster("both", KVTransfer{Connector: vllm.OffloadingConnector}),
		`kv_transfer.lmcache_mp.port: not set`:                                                                                                           cluster("both", KVTransfer{Connector: vllm.LMCacheMPConnector}),
		`kv_transfer.lmcache_mp.heartbeat "1": want a duration`:                                                                                          cluster("both", KVTransfer{Connector: vllm.LMCacheMPConnector, LMCacheMP: &LMCacheMP{Port: "lmcache", Heartbeat: "1"}}),
		`MultiConnector without connectors; add part`:                                                                                                    cluster("both", KVTransfer{Connector: vllm.MultiConnector}),
		`kv_transfer.part: NixlConnector twice; both would read the same environment`:                                                                    cluster("decode", KVTransfer{Connector: vllm.MultiConnector, Parts: []KVTransfer{nixl, nixl}}),
		`a MultiConnector inside a MultiConnector`:                                                                                                       cluster("decode", KVTransfer{Connector: vllm.MultiConnector, Parts: []KVTransfer{{Connector: vllm.MultiConnector}}}),
		`kv_transfer.part.engine_id "x": vLLM gives its parts the whole's`:                                                                               cluster("decode", KVTransfer{Connector: vllm.MultiConnector, Parts: []KVTransfer{{Connector: vllm.MooncakeConnector, EngineID: "x"}}}),
		`kv_transfer.lmcache: nothing hands KV over from kv_producer`:                                                                                    cluster("prefill", KVTransfer{Connector: vllm.LMCacheConnectorV1}),
		`kv_transfer.lmcache.version "new": want a version`:                                                                                              cluster("decode", lmcacheWith(func(l *LMCache) { l.Version = "new" })),
		`LMCache 0.5.3 ignores the key enable_nixl; write enable_pd`:                                                                                     cluster("decode", lmcacheWith(func(l *LMCache) { l.Settings = map[string]string{"enable_nixl": "true"} })),
		`LMCache 0.3.6 ignores the key pd_backend_mode; remove it`:                                                                                       cluster("decode", lmcacheWith(func(l *LMCache) { l.Version = "0.3.6"; l.Settings = map[string]string{"pd_backend_mode": "x"} })),
		`kv_transfer.lmcache.max_local_disk_size "x": want a size`:                                                                                       cluster("decode", lmcacheWith(func(l *LMCache) { l.MaxLocalDiskSize = "x" })),
		`kv_transfer.lmcache: pd and a remote store`:                                                                                                     cluster("decode", lmcacheWith(func(l *LMCache) { l.Version, l.RemoteURL = "0.3.7", "redis://x" })),
		`kv_transfer.lmcache.pd: LMCache either sends or receives`:                                                                                       cluster("both", lmcacheWith(func(*LMCache) {})),
		`kv_transfer.lmcache.pd: LMCache 0.5.3 tells the router that KV was sent; set proxy_host`:                                                        cluster("prefill", lmcacheWith(func(*LMCache) {})),
		`kv_transfer.lmcache.pd: LMCache 0.3.6 sends to one decode; set receiver_host and receiver_port to it, or proxy_host and proxy_port for several`: cluster("prefill", lmcacheWith(func(l *LMCache) { l.Version, l.PD = "0.3.6", &LMCachePD{} })),
		`kv_transfer.lmcache.pd: LMCache 0.3.2 knows one decode only; set init_ports on it and receiver_host on the prefill`:                             cluster("decode", lmcacheWith(func(l *LMCache) { l.Version = "0.3.2" })),
		`kv_transfer.lmcache: LMCache 0.3.2 with pd keeps nothing in memory or on disk; remove local_cpu, max_local_cpu_size and local_disk`:             cluster("decode", lmcacheWith(func(l *LMCache) { l.Version, l.PD, l.MaxLocalCPUSize = "0.3.2", onlyReceiver(), "1GiB" })),
		`LMCache 0.3.1 knows one decode only`:                                                                                                            cluster("prefill", lmcacheWith(func(l *LMCache) { l.Version, l.PD = "0.3.1", sender() })),
		`kv_transfer.lmcache.pd: LMCache 0.3.3 sends to the decode of receiver_host or, with proxy_host, to any; remove the settings of one`: cluster("prefill", lmcacheWith(func(l *LMCache) {
			l.Version, l.PD = "0.3.3", &LMCachePD{ProxyHost: "r", ProxyPort: 1, ReceiverHost: "d", ReceiverPort: 1}
		})),
		`kv_transfer.lmcache.pd.receiver_host and receiver_port: LMCache 0.5.3 learns the decode from each request; remove them`: cluster("prefill", lmcacheWith(func(l *LMCache) { l.PD = onlySender() })),
		`kv_transfer.lmcache.pd: LMCache 0.3.6 tells the router that KV was sent; set proxy_host`:                                cluster("prefill", lmcacheWith(func(l *LMCache) { l.Version, l.PD = "0.3.6", &LMCachePD{ProxyHost: "r"} })),
		`kv_transfer.lmcache.pd.init_ports has 0 port labels, but tensor_parallel_size 1 needs 1`:                                cluster("decode", lmcacheWith(func(l *LMCache) { l.Version, l.PD = "0.3.6", &LMCachePD{AllocPorts: []string{"alloc"}} })),
		`kv_transfer.lmcache.pd.buffer_device "gpu": want "cuda" or "cpu"`:                                                       cluster("decode", lmcacheWith(func(l *LMCache) { l.PD.BufferDevice = "gpu" })),
		`kv_transfer.lmcache.pd.buffer_size "x": want a size`:                                                                    cluster("decode", lmcacheWith(func(l *LMCache) { l.PD.BufferSize = "x" })),
		`kv_transfer.lmcache.pd.alloc_ports has 0 port labels, but tensor_parallel_size 1 needs 1`:                               cluster("decode", lmcacheWith(func(l *LMCache) { l.PD.AllocPorts = nil })),
		`kv_transfer.lmcache.pd.init_ports "no": no such port label`:                                                             cluster("decode", lmcacheWith(func(l *LMCache) { l.PD.InitPorts = []string{"no"} })),
		`LMCache file "local/x.yaml": not found`:                                                                                 broughtBy("local/x.yaml", broughtFile{Err: errNotFound{}}),
		`LMCache file "local/x.yaml": LMCache 0.5.3 ignores the key nixl_role; write pd_role`:                                    broughtBy("local/x.yaml", broughtFile{Content: []byte("nixl_role: sender")}),
		`kv_transfer.mooncake_store.mode "embedded": LMCache does not read it`:                                                   cluster("decode", KVTransfer{Connector: vllm.LMCacheConnectorV1, LMCache: &LMCache{Version: "0.5.3"}, MooncakeStore: &MooncakeStore{MasterServerAddress: "m:1", Mode: "embedded"}}),
	}
}

func TestConnectors_mistakesAreNamedWithTheWayOut(t *testing.T) {
	for want, s := range connectorMistakes() {
		t.Run(want, func(t *testing.T) {
			_, err := newPlan(s)
			require.ErrorContains(t, err, want)
		})
	}
}

type errNotFound struct{}

func (errNotFound) Error() string { return "not found" }

func broughtBy(path string, f broughtFile) situation {
	s := cluster("decode", KVTransfer{Connector: vllm.LMCacheConnectorV1, LMCache: &LMCache{Version: "0.5.3", ConfigFile: path}})
	s.Brought = map[string]broughtFile{path: f}
	return s
}

func TestLMCache_aBroughtFileIsUsedAsItIs(t *testing.T) {
	file := broughtFile{Path: "/task/local/x.yaml", Content: []byte("chunk_size: 256\n")}
	p, err := newPlan(broughtBy("local/x.yaml", file))
	require.NoError(t, err)
	require.Equal(t, "/task/local/x.yaml", p.Env["LMCACHE_CONFIG_FILE"])
	require.Empty(t, p.Files)

	s := broughtBy("local/x.yaml", file)
	s.Task.KVTransfer.LMCache.ChunkSize = 1
	_, err = newPlan(s)
	require.ErrorContains(t, err, `the file "local/x.yaml" is used as it is; move the block's other settings into it`)

	s = broughtBy("local/x.yaml", file)
	s.Env = map[string]string{"LMCACHE_CONFIG_FILE": "/local/y.yaml"}
	_, err = newPlan(s)
	require.ErrorContains(t, err, `config_file "local/x.yaml" and env LMCACHE_CONFIG_FILE = "/local/y.yaml": name the file once`)
}

func TestRankPorts_sayTheArithmetic(t *testing.T) {
	s := good(func(s *situation) { s.Task.DataParallelSize, s.GPUs = 3, gpus{3, "0,1,2"} })
	_, err := newPlan(s)
	require.EqualError(t, err, `data-parallel ranks 0 to 2 listen on kv_transfer.side_channel_port 29000 + rank, but the group's network has not reserved 29001, 29002; `+
		`make "nixl" static and add port "nixl_1" { static = 29001 } port "nixl_2" { static = 29002 }`)
	reserveRanks(&s)
	_, err = newPlan(s)
	require.NoError(t, err)
	s = good(func(s *situation) { s.Task.Args = []string{"-dp=8", "-dpl=2", "-dpr=4"} })
	_, err = newPlan(s)
	require.ErrorContains(t, err, "ranks 4 to 5 listen on")
	require.ErrorContains(t, err, "has not reserved 29004, 29005;")
}

func TestLMCache_oldReceiverListensOnAPortForEachWorker(t *testing.T) {
	kv := lmcacheWith(func(l *LMCache) { l.Version, l.PD = "0.3.6", &LMCachePD{InitPorts: []string{"lmcache"}} })
	s := cluster("decode", kv)
	s.Task.TensorParallelSize, s.GPUs = 2, gpus{2, "0,1"}
	_, err := newPlan(s)
	require.ErrorContains(t, err, `listens on "lmcache" 7305 + tensor-parallel rank; reserve 7306 too: port "lmcache_1" { static = 7306 }`)
	s.Task.KVTransfer.LMCache.PD.InitPorts = []string{"init"}
	_, err = newPlan(s)
	require.NoError(t, err)
}

// vLLM has one bootstrap server for all ranks of a node, and one for all nodes
// unless something else balances between them.
func TestMooncake_dataParallelRanksShareABootstrapPort(t *testing.T) {
	kv := KVTransfer{Connector: vllm.MooncakeConnector, Mooncake: &Mooncake{BootstrapPort: "bootstrap"}}
	s := cluster("prefill", kv)
	s.Task.DataParallelSize, s.GPUs = 2, gpus{2, "0,1"}
	p, err := newPlan(s)
	require.NoError(t, err)
	require.Equal(t, "7304", p.Env["VLLM_MOONCAKE_BOOTSTRAP_PORT"])
	require.Empty(t, p.Notes)

	p, err = newPlan(laterRanks())
	require.NoError(t, err)
	require.Equal(t, []string{`data-parallel ranks from 2 on register at port 7304 of the first node; make kv_transfer.mooncake.bootstrap_port "bootstrap" static, with the same number there`}, p.Notes)

	for _, balanced := range []string{"--data-parallel-rank=2", "--data-parallel-external-lb", "--data-parallel-hybrid-lb"} {
		s = laterRanks()
		s.Task.Args = append(s.Task.Args, balanced)
		p, err = newPlan(s)
		require.NoError(t, err)
		require.Empty(t, p.Notes, balanced)
	}
	decode := laterRanks()
	decode.Task.Role, decode.Task.KVTransfer = "decode", &KVTransfer{Connector: vllm.MooncakeConnector}
	p, err = newPlan(decode)
	require.NoError(t, err)
	require.Empty(t, p.Notes)
}

// Up to 0.3.6, what frees the buffer is a setting with one decode only.
func TestLMCache_enableGCIsLeftOutWhereItIsNotRead(t *testing.T) {
	yes := true
	for version, pd := range map[string]*LMCachePD{"0.3.6": sender(), "0.5.3": sender()} {
		pd.EnableGC = &yes
		p, err := newPlan(cluster("prefill", lmcacheWith(func(l *LMCache) { l.Version, l.PD = version, pd })))
		require.NoError(t, err)
		require.NotContains(t, string(p.Files[0].Content), "enable_gc")
		require.Contains(t, p.Notes, "kv_transfer.lmcache.pd.enable_gc is left out: LMCache "+version+" does not read it with several decodes")
	}
}

func TestBufferSize_isForConnectorsThatTheJobBrings(t *testing.T) {
	p, err := newPlan(cluster("decode", KVTransfer{Connector: "AcmeConnector", ModulePath: "acme.kv", KVBufferSize: "2GiB"}))
	require.NoError(t, err)
	require.Contains(t, strings.Join(p.Argv, " "), `"kv_buffer_size":2147483648`)
	require.Empty(t, p.Notes)
	p, err = newPlan(cluster("decode", KVTransfer{Connector: vllm.NixlConnector, SideChannelPort: "nixl", KVBufferSize: "2GiB"}))
	require.NoError(t, err)
	require.NotContains(t, strings.Join(p.Argv, " "), "kv_buffer_size")
	require.Equal(t, []string{`kv_transfer.kv_buffer_size "2GiB" is left out: NixlConnector does not read it, and vLLM 0.32 and newer do not start with it`}, p.Notes)
}

func TestLMCache_theNodesVersionHoldsWhereTheBlockSaysNone(t *testing.T) {
	s := cluster("decode", lmcacheWith(func(l *LMCache) { l.Version = "" }))
	s.LMCacheVersion = "0.3.6"
	p, err := newPlan(s)
	require.NoError(t, err)
	require.Contains(t, string(p.Files[0].Content), "enable_nixl: true")
	require.Empty(t, p.Notes)
	s.Task.KVTransfer.LMCache.Version = "0.5.3"
	p, err = newPlan(s)
	require.NoError(t, err)
	require.Contains(t, string(p.Files[0].Content), "enable_pd: true")
}
