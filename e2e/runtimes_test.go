//go:build e2e

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/dev/demo"
)

// fakeEnvironment is the simulator in what looks like a Python environment.
func fakeEnvironment(t *testing.T, bin string, packages ...string) (command string) {
	env := t.TempDir()
	for _, p := range packages {
		require.NoError(t, os.MkdirAll(filepath.Join(env, "lib/python3.12/site-packages", p+".dist-info"), 0o755))
	}
	command = filepath.Join(env, "bin", "vllm")
	require.NoError(t, os.MkdirAll(filepath.Dir(command), 0o755))
	require.NoError(t, os.WriteFile(command, []byte("#!/bin/sh\nexec "+filepath.Join(bin, "vllm-sim")+" \"$@\"\n"), 0o755))
	return command
}

const runtimeJob = `
job "runtime-NAME" {
  type = "batch"
  group "vllm" {
    network {
      port "http" {}
    }
    constraint {
      attribute = "${attr.driver.vllm.runtime.ATTRIBUTE}"
      operator  = "OPERATOR"
      value     = "VALUE"
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
        model = "m"
        CONFIG
      }
      resources {
        cpu    = 100
        memory = 64
        device "nvidia/gpu" {}
      }
    }
  }
}
`

func runtimes(t *testing.T, s *suite) {
	lmcache := "\nkv_transfer { connector = \"LMCacheConnectorV1\" }\n"
	for _, c := range []struct {
		name, attribute, operator, value, config string
		event, filtered                          string // what the task or the scheduler says
	}{
		{"dotted", "v0.26.vllm", "version", "< 0.33", `runtime = "v0.26"`, "/bin/vllm serve m", ""},
		{"dashed", "vllm-v0.33.vllm", "semver", ">= 0.33.0", `runtime = "vllm-v0.33"`, "/bin/vllm serve m", ""},
		{"healthy", "vllm-v0.33.healthy", "=", "true", `runtime = "vllm-v0.33"`, "/bin/vllm serve m", ""},
		{"post", "v0.26.mooncake", "semver", ">= 0.3.13", `runtime = "v0.26"`, "/bin/vllm serve m", ""},
		{"old", "v0.26.vllm", "semver", ">= 0.33", `runtime = "v0.26"`, "", "runtime.v0.26.vllm} semver >= 0.33"},
		{"absent", "v0.34.healthy", "=", "true", `runtime = "v0.34"`, "", "runtime.v0.34.healthy} = true"},
		{"unknown", "v0.26.healthy", "=", "true", `runtime = "v0.34"`, `runtime "v0.34": this node has "default", "v0.26", "vllm-v0.33"; add constraint`, ""},
		{"known-bad", "v0.26.lmcache", "version", "= 0.5.3", `runtime = "v0.26"` + lmcache, "known bad: LMCacheConnectorV1, vLLM 0.26.0: ", ""},
		{"allowed", "v0.26.lmcache", "version", "= 0.5.3", `runtime = "v0.26"` + lmcache + `allow_known_bad = ["lmcache-wrong-text"]`, "KNOWN BAD, allowed by", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.NewReplacer("NAME", c.name, "ATTRIBUTE", c.attribute, "OPERATOR", c.operator, "VALUE", c.value, "CONFIG", c.config).Replace(runtimeJob)
			file := filepath.Join(t.TempDir(), c.name+".nomad.hcl")
			require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
			id, err := demo.RunJob(t.Context(), s.nomadBinary, s.Nomad, file, nil)
			require.NoError(t, err)
			t.Cleanup(func() { _, _, _ = s.Nomad.Jobs().Deregister(id, true, nil) })
			eventually(t, 30*time.Second, c.event+c.filtered, func() bool {
				if c.event != "" {
					return strings.Contains(s.events(t, id), c.event)
				}
				return strings.Contains(s.constraintsThatFiltered(t, id), c.filtered)
			})
		})
	}
}

// events is what `nomad alloc status` tells of a job's tasks.
func (s *suite) events(t *testing.T, job string) string {
	allocs, _, err := s.Nomad.Jobs().Allocations(job, true, nil)
	require.NoError(t, err)
	var out []string
	for _, a := range allocs {
		for _, ts := range a.TaskStates {
			for _, e := range ts.Events {
				out = append(out, e.DisplayMessage)
			}
		}
	}
	return strings.Join(out, "\n")
}

func (s *suite) constraintsThatFiltered(t *testing.T, job string) string {
	evals, _, err := s.Nomad.Jobs().Evaluations(job, &nomadapi.QueryOptions{})
	require.NoError(t, err)
	var out []string
	for _, e := range evals {
		for _, m := range e.FailedTGAllocs {
			for c := range m.ConstraintFiltered {
				out = append(out, c)
			}
		}
	}
	return strings.Join(out, "\n")
}
