package driver

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/nomad/helper/pluginutils/hclutils"
	"github.com/hashicorp/nomad/plugins/base"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver/telemetry"
)

func TestConfig_everyFieldFromHCL(t *testing.T) {
	var got Config
	hclutils.NewConfigParser(configSpec()).ParseHCL(t, `config {
  command      = "/opt/vllm/bin/vllm"
  python       = "/opt/vllm/venv/bin/python"
  gpu_proc_dir = "/tmp/gpus"
  state_dir    = "/var/lib/vllm"

  lmcache_version = "0.5.3"
  allow_commands  = ["/opt/vllm/bin/vllm", "/opt/vllm-*/bin/vllm"]
  deny_args       = ["--trust-remote-code"]
  deny_env        = ["LD_PRELOAD", "PYTHON*"]

  deny_unlimited_memory = true
  ulimit { nofile = "65536" }
  ulimit_max { memlock = "8GiB" }
  telemetry {
    statsd_address    = "127.0.0.1:8125"
    statsite_address  = "127.0.0.1:8126"
    prometheus_listen = "127.0.0.1:9464"
  }

  runtime "v0.33" {
    command = "/opt/vllm-0.33/bin/vllm"
    python  = "/opt/vllm-0.33/venv/bin/python"
    env {
      HF_HOME = "/models"
    }
  }
  runtime "v0.26" {
    command = "/opt/vllm-0.26/bin/vllm"
  }
}`, &got)
	require.Equal(t, Config{
		Command: "/opt/vllm/bin/vllm", Python: "/opt/vllm/venv/bin/python", DenyUnlimitedMemory: true, GPUProcDir: "/tmp/gpus", StateDir: "/var/lib/vllm", LMCacheVersion: "0.5.3",
		Runtimes: map[string]Runtime{
			"v0.33": {Command: "/opt/vllm-0.33/bin/vllm", Python: "/opt/vllm-0.33/venv/bin/python", Env: map[string]string{"HF_HOME": "/models"}},
			"v0.26": {Command: "/opt/vllm-0.26/bin/vllm"},
		},
		AllowCommands: []string{"/opt/vllm/bin/vllm", "/opt/vllm-*/bin/vllm"}, DenyArgs: []string{"--trust-remote-code"}, DenyEnv: []string{"LD_PRELOAD", "PYTHON*"},
		Ulimit: map[string]string{"nofile": "65536"}, UlimitMax: map[string]string{"memlock": "8GiB"},
		Telemetry: &telemetry.Settings{StatsdAddress: "127.0.0.1:8125", StatsiteAddress: "127.0.0.1:8126", PrometheusListen: "127.0.0.1:9464"},
	}, got)
	requireAllSet(t, reflect.ValueOf(got))
}

func TestConfig_defaults(t *testing.T) {
	var got Config
	hclutils.NewConfigParser(configSpec()).ParseHCL(t, `config { state_dir = "" }`, &got)
	got.complete()
	require.Equal(t, defaultConfig(), got)
}

func TestTaskConfig_everyFieldFromHCL(t *testing.T) {
	var got TaskConfig
	hclutils.NewConfigParser(taskConfigSpec()).ParseHCL(t, `config {
  model   = "meta-llama/Llama-3.1-8B-Instruct"
  role    = "prefill"
  port    = "api"
  runtime = "v0.33"
  command = "local/vllm"
  args    = ["--max-model-len=8192", "--enforce-eager"]
  allow_known_bad        = ["lmcache-wrong-text"]
  kill_timeout           = "30s"
  tensor_parallel_size   = 2
  pipeline_parallel_size = 3
  data_parallel_size     = 4
  unlimited_memory       = true
  cpu_hard_limit         = true
  oom_score_adj          = 100
  ulimit {
    nofile  = "1024:65536"
    memlock = "unlimited"
  }
  kv_transfer {
    connector              = "NixlConnector"
    kv_role                = "kv_both"
    engine_id              = "p-0"
    kv_buffer_device       = "cpu"
    kv_buffer_size         = "2GiB"
    module_path            = "acme.kv"
    kv_load_failure_policy = "recompute"
    side_channel_port      = "nixl"
    side_channel_host      = "10.0.0.7"
    lease                  = "60s"
    backends               = ["UCX", "LIBFABRIC"]
    lmcache {
      version             = "0.5.3"
      config_file         = "local/lmcache.yaml"
      chunk_size          = 256
      local_cpu           = false
      max_local_cpu_size  = "5GiB"
      local_disk          = "file:///local/kv"
      max_local_disk_size = "10GiB"
      remote_url          = "redis://10.0.0.5:6379"
      remote_serde        = "naive"
      pd {
        init_ports    = ["init"]
        alloc_ports   = ["alloc"]
        proxy_host    = "10.0.0.9"
        proxy_port    = 7500
        receiver_host = "10.0.0.8"
        receiver_port = 7300
        buffer_size   = "1GiB"
        buffer_device = "cuda"
        enable_gc     = true
      }
      settings {
        pd_backend_mode = "sync"
      }
      extra_config {
        a = 1
      }
    }
    lmcache_mp {
      port      = "lmcache"
      host      = "10.0.0.7"
      timeout   = "300s"
      heartbeat = "10s"
    }
    mooncake {
      bootstrap_port = "bootstrap"
      protocol       = "tcp"
      device_name    = "mlx5_0"
      workers        = 10
      abort_timeout  = "480s"
    }
    mooncake_store {
      master_server_address = "10.0.0.5:50051"
      metadata_server       = "etcd://10.0.0.5:2379"
      local_hostname        = "10.0.0.7"
      protocol              = "rdma"
      device_name           = "mlx5_0"
      global_segment_size   = "4GiB"
      local_buffer_size     = "1GiB"
      transfer_timeout      = "2s"
      mode                  = "embedded"
      settings {
        enable_offload = true
      }
    }
    offloading {
      cpu_size        = "64GiB"
      spec            = "CPUOffloadingSpec"
      block_size      = 64
      eviction_policy = "lru"
    }
    part {
      connector = "NixlConnector"
      lmcache {
        pd { proxy_port = 1 }
      }
      extra {
        a = "b"
      }
    }
    extra {
      num_threads = 8
      note        = "free text"
    }
  }
}`, &got)
	yes := true
	require.Equal(t, TaskConfig{
		Model: "meta-llama/Llama-3.1-8B-Instruct", Role: "prefill", Port: "api", Runtime: "v0.33", Command: "local/vllm",
		Args:               []string{"--max-model-len=8192", "--enforce-eager"},
		AllowKnownBad:      []string{"lmcache-wrong-text"},
		KillTimeout:        "30s",
		TensorParallelSize: 2, PipelineParallelSize: 3, DataParallelSize: 4,
		UnlimitedMemory: true, CPUHardLimit: true, OOMScoreAdj: 100,
		Ulimit: map[string]string{"nofile": "1024:65536", "memlock": "unlimited"},
		KVTransfer: &KVTransfer{
			Connector: "NixlConnector", KVRole: "kv_both", EngineID: "p-0", KVBufferDevice: "cpu",
			KVLoadFailurePolicy: "recompute", SideChannelPort: "nixl", SideChannelHost: "10.0.0.7",
			Lease: "60s", Backends: []string{"UCX", "LIBFABRIC"},
			KVBufferSize: "2GiB", ModulePath: "acme.kv",
			LMCache: &LMCache{
				Version: "0.5.3", ConfigFile: "local/lmcache.yaml", ChunkSize: 256, LocalCPU: new(bool), MaxLocalCPUSize: "5GiB",
				LocalDisk: "file:///local/kv", MaxLocalDiskSize: "10GiB", RemoteURL: "redis://10.0.0.5:6379", RemoteSerde: "naive",
				PD: &LMCachePD{
					InitPorts: []string{"init"}, AllocPorts: []string{"alloc"}, ProxyHost: "10.0.0.9", ProxyPort: 7500,
					ReceiverHost: "10.0.0.8", ReceiverPort: 7300, BufferSize: "1GiB", BufferDevice: "cuda", EnableGC: &yes,
				},
				Settings: map[string]string{"pd_backend_mode": "sync"}, ExtraConfig: map[string]string{"a": "1"},
			},
			LMCacheMP: &LMCacheMP{Port: "lmcache", Host: "10.0.0.7", Timeout: "300s", Heartbeat: "10s"},
			Mooncake:  &Mooncake{BootstrapPort: "bootstrap", Protocol: "tcp", DeviceName: "mlx5_0", Workers: 10, AbortTimeout: "480s"},
			MooncakeStore: &MooncakeStore{
				MasterServerAddress: "10.0.0.5:50051", MetadataServer: "etcd://10.0.0.5:2379", LocalHostname: "10.0.0.7", Protocol: "rdma",
				DeviceName: "mlx5_0", GlobalSegmentSize: "4GiB", LocalBufferSize: "1GiB", TransferTimeout: "2s", Mode: "embedded",
				Settings: map[string]string{"enable_offload": "true"},
			},
			Offloading: &Offloading{CPUSize: "64GiB", Spec: "CPUOffloadingSpec", BlockSize: 64, EvictionPolicy: "lru"},
			Parts: []KVTransfer{{
				Connector: "NixlConnector", LMCache: &LMCache{PD: &LMCachePD{ProxyPort: 1}}, Extra: map[string]string{"a": "b"},
			}},
			Extra: map[string]string{"num_threads": "8", "note": "free text"},
		},
	}, got)
	requireAllSet(t, reflect.ValueOf(got))
}

func TestTaskConfig_defaults(t *testing.T) {
	var got TaskConfig
	hclutils.NewConfigParser(taskConfigSpec()).ParseHCL(t, `config { model = "m" }`, &got)
	require.Equal(t, TaskConfig{Model: "m", Role: "both", Port: "http"}, got)
}

func TestSetConfig_takesWhatAnAgentSends(t *testing.T) {
	d := New(t.Context(), nullLog())
	require.NoError(t, d.SetConfig(&base.Config{}), "neither plugin nor agent config")
	require.NoError(t, d.SetConfig(&base.Config{AgentConfig: &base.AgentConfig{Driver: &base.ClientDriverConfig{}}}), "no topology")
	require.Equal(t, defaultConfig(), d.config())

	var data []byte
	require.NoError(t, base.MsgPackEncode(&data, &Config{Command: "", GPUProcDir: "gpus", StateDir: "state", LMCacheVersion: "new", Ulimit: map[string]string{"nofile": "many"}}))
	err := d.SetConfig(&base.Config{PluginConfig: data})
	for _, want := range []string{`gpu_proc_dir = "gpus": want an absolute path`, `state_dir = "state": want an absolute path`, `lmcache_version = "new": want a version`, `ulimit nofile = "many": want "65536"`} {
		require.ErrorContains(t, err, want)
	}
	require.Equal(t, defaultConfig(), d.config(), "a bad config changes nothing")
}

func TestFingerprint_missingEngineIsUnhealthyWithTheReason(t *testing.T) {
	d := New(t.Context(), nullLog())
	d.cfg.Command = "no-such-engine"
	f := d.fingerprint()
	require.EqualValues(t, "unhealthy", f.Health)
	require.Contains(t, f.HealthDescription, `engine: command "no-such-engine": not found on PATH`)
	require.Contains(t, f.HealthDescription, `or set command in plugin "nomad-driver-vllm"`)
	d.cfg.Command = "sh"
	f = d.fingerprint()
	require.EqualValues(t, "healthy", f.Health)
	version, _ := f.Attributes["driver.vllm.version"].GetString()
	require.Equal(t, Version, version)
	path, _ := f.Attributes["driver.vllm.command"].GetString()
	require.True(t, strings.HasSuffix(path, "/sh"))
}

func TestFingerprint_comesAtOnceAndEndsWithItsContext(t *testing.T) {
	d := New(t.Context(), nullLog())
	ctx, cancel := contextWithCancel(t)
	ch, err := d.Fingerprint(ctx)
	require.NoError(t, err)
	require.NotNil(t, <-ch)
	cancel()
	_, ok := <-ch
	require.False(t, ok)
}

func TestFingerprint_looksAgainSoonForAMissingEngine(t *testing.T) {
	engine := filepath.Join(t.TempDir(), "vllm")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		d := New(ctx, nullLog())
		d.cfg.Command = engine
		ch, err := d.Fingerprint(ctx)
		require.NoError(t, err)
		start := time.Now()
		require.EqualValues(t, "unhealthy", (<-ch).Health)
		require.NoError(t, os.WriteFile(engine, nil, 0o755))
		require.EqualValues(t, "healthy", (<-ch).Health)
		require.Equal(t, missingPeriod, time.Since(start))
		<-ch
		require.Equal(t, missingPeriod+fingerprintPeriod, time.Since(start))
	})
}
