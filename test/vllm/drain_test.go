//go:build vllm

package vllm

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/dev/agents"
	"github.com/nomad-vllm/nomad-vllm/dev/cluster"
	"github.com/nomad-vllm/nomad-vllm/dev/demo"
)

// drainJob has two servers that differ in how long they may take to end. Of
// 30 s the driver gives vLLM 20 to drain, of 6 s 4.
const drainJob = `
job "drain" {
  group "patient" {
    network {
      port "http" {}
    }
    task "vllm" {
      driver       = "vllm"
      kill_timeout = "30s"
      config {
        model        = "NAME_OF_THE_MODEL"
        kill_timeout = "30s"
      }
      resources {
        cpu    = 1000
        memory = 3000
      }
    }
  }
  group "hasty" {
    network {
      port "http" {}
    }
    task "vllm" {
      driver       = "vllm"
      kill_timeout = "6s"
      config {
        model        = "NAME_OF_THE_MODEL"
        kill_timeout = "6s"
      }
      resources {
        cpu    = 1000
        memory = 3000
      }
    }
  }
}
`

// TestDrain_underNomad stops real vLLM as an operator does, through a real agent.
func TestDrain_underNomad(t *testing.T) {
	c, allocs := startDrain(t)
	t.Run("a stream that fits into the drain is finished", func(t *testing.T) {
		d := stopUnderStream(t, c, allocs["patient"], 150)
		require.True(t, d.whole, "the stream ends with its last token and [DONE]: %s", d.end)
		require.Less(t, d.gone, 30*time.Second, "everything is gone by kill_timeout")
		require.Contains(t, d.event, "Stopped after")
		require.NotContains(t, d.event, "killed")
	})
	t.Run("one that does not is cut off by kill_timeout", func(t *testing.T) {
		d := stopUnderStream(t, c, allocs["hasty"], 2000)
		require.False(t, d.whole)
		// Nomad and the kernel need some of the time after the kill themselves.
		require.Less(t, d.gone, 6*time.Second+3*time.Second)
	})
}

func startDrain(t *testing.T) (*cluster.Cluster, map[string]*nomadapi.Allocation) {
	_, command := installed(t)
	bin := os.Getenv("NOMAD_VLLM_BIN")
	require.NotEmpty(t, bin, "run `make test-vllm`: it builds the binaries and sets NOMAD_VLLM_BIN")
	cache, err := agents.CacheDir()
	require.NoError(t, err)
	found := map[string]string{}
	for _, a := range agents.All() {
		f, err := a.Locate(t.Context(), cache)
		require.NoError(t, err, "run `make test-vllm`: it builds the agents")
		found[a.Name] = f.Path
	}
	dir, err := os.MkdirTemp("", "pd-drain-") // short, for the sockets in it
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c, err := cluster.Start(t.Context(), cluster.Config{
		StateDir: filepath.Join(dir, "s"), BinDir: bin, EngineCommand: command,
		Nomad: found["nomad"], Consul: found["consul"], Autoscaler: found["nomad-autoscaler"],
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Stop()) })
	file := filepath.Join(dir, "drain.nomad.hcl")
	require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(drainJob, "NAME_OF_THE_MODEL", model)), 0o644))
	id, err := demo.RunJob(t.Context(), found["nomad"], c.Nomad, file, nil)
	require.NoError(t, err)
	return c, healthyAllocs(t, c, id, 2)
}

// healthyAllocs waits until the job's servers serve and returns them by group.
func healthyAllocs(t *testing.T, c *cluster.Cluster, job string, n int) map[string]*nomadapi.Allocation {
	out := map[string]*nomadapi.Allocation{}
	require.Eventually(t, func() bool {
		list, _, err := c.Nomad.Jobs().Allocations(job, false, nil)
		require.NoError(t, err)
		for _, stub := range list {
			a, _, err := c.Nomad.Allocations().Info(stub.ID, nil)
			require.NoError(t, err)
			if a.ClientStatus == nomadapi.AllocClientStatusRunning && healthy(t.Context(), allocURL(a)) {
				out[a.TaskGroup] = a
			}
		}
		return len(out) == n
	}, startLimit, time.Second)
	return out
}

func allocURL(a *nomadapi.Allocation) string {
	p := a.AllocatedResources.Shared.Ports[0]
	return "http://" + p.HostIP + ":" + strconv.Itoa(p.Value)
}

// stopped is what a stop did to a stream of so many tokens.
type stopped struct {
	whole bool          // the stream had all its tokens and its end
	end   string        // its last events
	gone  time.Duration // from the stop until no process was left
	event string        // the driver's last
}

func stopUnderStream(t *testing.T, c *cluster.Cluster, a *nomadapi.Allocation, tokens int) stopped {
	t.Helper()
	body := fmt.Sprintf(`{"model":%q,"prompt":"a long story","max_tokens":%d,"min_tokens":%d,"ignore_eos":true,"temperature":0,"stream":true,"stream_options":{"include_usage":true}}`, model, tokens, tokens)
	resp, err := http.Post(allocURL(a)+"/v1/completions", "application/json", strings.NewReader(body))
	require.NoError(t, err)
	defer resp.Body.Close()
	in := bufio.NewReader(resp.Body)
	_, err = in.ReadString('\n')
	require.NoError(t, err, "it streams")
	require.GreaterOrEqual(t, len(ofAlloc(t, a.ID)), 3, "shim, API server and engine core")

	start := time.Now()
	_, err = c.Nomad.Allocations().Stop(a, nil)
	require.NoError(t, err)
	streamed := make(chan string, 1)
	go func() { streamed <- readAll(in) }()
	var d stopped
	require.Eventually(t, func() bool { return len(ofAlloc(t, a.ID)) == 0 }, time.Minute, 50*time.Millisecond, "no process is left")
	d.gone = time.Since(start)
	text := <-streamed
	d.end = text[max(0, len(text)-400):]
	d.whole = strings.Contains(d.end, "[DONE]") && strings.Contains(d.end, fmt.Sprintf(`"completion_tokens":%d`, tokens))
	require.Eventually(t, func() bool {
		now, _, err := c.Nomad.Allocations().Info(a.ID, nil)
		require.NoError(t, err)
		for _, e := range now.TaskStates["vllm"].Events {
			if strings.HasPrefix(e.DisplayMessage, "Stopped after") {
				d.event = e.DisplayMessage
			}
		}
		return d.event != ""
	}, 10*time.Second, 200*time.Millisecond)
	t.Logf("%d tokens: whole %t, everything gone after %s; %s", tokens, d.whole, d.gone.Round(10*time.Millisecond), d.event)
	return d
}

// readAll reads until the end, orderly or not.
func readAll(in *bufio.Reader) string {
	var b bytes.Buffer
	_, _ = b.ReadFrom(in)
	return b.String()
}

// ofAlloc are the processes of an allocation's tasks and their shims.
func ofAlloc(t *testing.T, alloc string) (pids []int) {
	entries, err := os.ReadDir("/proc")
	require.NoError(t, err)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		env, _ := os.ReadFile("/proc/" + e.Name() + "/environ")
		argv, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if bytes.Contains(env, []byte("NOMAD_ALLOC_ID="+alloc)) || bytes.HasPrefix(argv, []byte("nomad-driver-vllm\x00shim\x00"+alloc)) {
			pids = append(pids, pid)
		}
	}
	return pids
}
