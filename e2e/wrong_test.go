//go:build e2e

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/dev/demo"
)

// wrongJob is one prefill server with the parts that each case breaks.
const wrongJob = `
job "wrong-NAME" {
  type = "batch"
  group "prefill" {
    network {
      port "http" {}
    }
    restart {
      attempts = 0
      mode     = "fail"
    }
    reschedule {
      attempts  = 0
      unlimited = false
    }
    task "vllm" {
      driver = "vllm"
      config {
        CONFIG
      }
      resources {
        cpu    = 100
        memory = 64
        device "nvidia/gpu" { count = GPUS }
      }
    }
  }
}
`

func wrongJobs(t *testing.T, s *suite) {
	nixl := func(connector, label string) string {
		return "kv_transfer {\n connector = \"" + connector + "\"\n side_channel_port = \"" + label + "\"\n}"
	}
	for _, c := range []struct {
		name, config, gpus string
		says               []string
	}{
		{"label", `model = "m"
			role = "prefill"
			port = "http"
			` + nixl("NixlConnector", "nixl"), "1",
			[]string{`kv_transfer.side_channel_port "nixl"`, `have "http"`, `add port "nixl"`}},
		{"connector", `model = "m"
			role = "prefill"
			port = "http"
			` + nixl("NixlConector", "http"), "1", []string{`"NixlConector"`, "NixlConnector"}},
		{"model", `role = "prefill"
			port = "http"
			` + nixl("NixlConnector", "http"), "1", []string{"model"}},
		{"gpus", `model = "m"
			role = "prefill"
			port = "http"
			args = ["--tensor-parallel-size=4"]
			` + nixl("NixlConnector", "http"), "1", []string{"4", "1", "count = 4"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			id := s.submit(t, ctx, c.name, c.config, c.gpus)
			message := ""
			eventually(t, 30*time.Second, "the task fails with a driver's message", func() bool {
				message = s.driverFailure(t, id)
				return message != ""
			})
			t.Log(message)
			for _, words := range c.says {
				require.Contains(t, message, words)
			}
		})
	}
	t.Run("more GPUs than there are", func(t *testing.T) {
		id := s.submit(t, t.Context(), "placement", "model = \"m\"\nrole = \"prefill\"\nport = \"http\"\n"+nixl("NixlConnector", "http"), "64")
		var failures []string
		eventually(t, 30*time.Second, "Nomad says that it cannot place it", func() (found bool) {
			var err error
			failures, err = demo.PlacementFailures(s.Nomad, id)
			require.NoError(t, err)
			return len(failures) > 0
		})
		t.Log(failures)
		require.Contains(t, strings.Join(failures, " "), "lower device \"nvidia/gpu\" { count }")
	})
}

func (s *suite) submit(t *testing.T, ctx context.Context, name, config, gpus string) string {
	file := filepath.Join(t.TempDir(), name+".nomad.hcl")
	text := strings.NewReplacer("NAME", name, "CONFIG", config, "GPUS", gpus).Replace(wrongJob)
	require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	id, err := demo.RunJob(ctx, s.nomadBinary, s.Nomad, file, nil)
	require.NoError(t, err)
	t.Cleanup(func() { _, _, _ = s.Nomad.Jobs().Deregister(id, true, nil) })
	return id
}

// driverFailure is what `nomad alloc status` shows of a task that the driver refused.
func (s *suite) driverFailure(t *testing.T, job string) string {
	allocs, _, err := s.Nomad.Jobs().Allocations(job, true, nil)
	require.NoError(t, err)
	for _, a := range allocs {
		for _, ts := range a.TaskStates {
			for _, e := range ts.Events {
				if e.Type == nomadapi.TaskDriverFailure {
					return e.DisplayMessage
				}
			}
		}
	}
	return ""
}
