package taskstart

import (
	"path/filepath"
	"strings"
)

// job is a prefill server as users write it, and the same program under raw_exec.
func (b *bench) job() string {
	return strings.NewReplacer(
		"COMMAND", filepath.Join(b.o.BinDir, "start-probe"),
		"OUT_OURS", b.probeFile(ours), "OUT_THEIRS", b.probeFile(theirs),
	).Replace(jobText)
}

const jobText = `
job "start" {
  group "vllm" {
    network {
      port "http" {}
      port "nixl" {}
    }
    task "vllm" {
      driver = "vllm"
      config {
        model = "probe"
        role  = "prefill"
        args  = ["--max-model-len=8192", "--gpu-memory-utilization=0.9"]
        kv_transfer {
          connector         = "NixlConnector"
          side_channel_port = "nixl"
        }
      }
      env { START_PROBE_OUT = "OUT_OURS" }
      resources {
        cpu    = 100
        memory = 64
      }
    }
  }
  group "raw_exec" {
    network {
      port "http" {}
      port "nixl" {}
    }
    task "raw_exec" {
      driver = "raw_exec"
      config {
        command = "COMMAND"
        args    = ["serve", "probe", "--port=${NOMAD_PORT_http}", "--max-model-len=8192", "--gpu-memory-utilization=0.9"]
      }
      env { START_PROBE_OUT = "OUT_THEIRS" }
      resources {
        cpu    = 100
        memory = 64
      }
    }
  }
}
`
