//go:build e2e

package e2e

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	nomadapi "github.com/hashicorp/nomad/api"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/dev/agents"
	"github.com/nomad-vllm/nomad-vllm/dev/cluster"
	"github.com/nomad-vllm/nomad-vllm/dev/demo"
	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
)

const jobFile = "../examples/hcl/pd.nomad.hcl"

// suite is the running cluster that the steps share.
type suite struct {
	*cluster.Cluster
	nomadBinary string
	router      string
	fleet       *fleet.Consul
	picked      map[string]bool // decodes that a step has killed
}

func TestCluster(t *testing.T) {
	s := start(t)
	step := func(name string, f func(*testing.T, *suite)) {
		if !t.Failed() { // a later step on a broken cluster would only hide the first failure
			t.Run(name, func(t *testing.T) { f(t, s) })
		}
	}
	step("the job becomes healthy", jobBecomesHealthy)
	step("a completion is disaggregated and says what an aggregated run says", completion)
	step("a streamed completion too", streamedCompletion)
	step("a prefill killed under load loses nothing and comes back", prefillKilled)
	step("load on prefill alone grows prefill", prefillScales)
	step("an agent that is killed finds its servers again", agentKilled)
	step("an agent that is stopped in order finds its servers again", agentStopped)
	step("a wrong job says what is wrong", wrongJobs)
	step("a task runs on the runtime that it names", runtimes)
	step("job stop leaves no process", jobStop)
}

func start(t *testing.T) *suite {
	bin := os.Getenv("NOMAD_VLLM_BIN")
	require.NotEmpty(t, bin, "run `make e2e`: it builds the binaries and sets NOMAD_VLLM_BIN")
	cache, err := agents.CacheDir()
	require.NoError(t, err)
	found := map[string]string{}
	for _, a := range agents.All() {
		f, err := a.Locate(t.Context(), cache)
		require.NoError(t, err, "run `make e2e`: it builds the agents")
		found[a.Name] = f.Path
	}
	c, err := cluster.Start(t.Context(), cluster.Config{
		StateDir: stateDir(t), BinDir: bin, EngineCommand: filepath.Join(bin, "vllm-sim"), GPUs: 16,
		Nomad: found["nomad"], Consul: found["consul"], Autoscaler: found["nomad-autoscaler"],
		Runtimes: map[string]string{
			"v0.26":      fakeEnvironment(t, bin, "vllm-0.26.0", "lmcache-0.5.3", "mooncake_transfer_engine-0.3.13.post1"),
			"vllm-v0.33": fakeEnvironment(t, bin, "vllm-0.33.1"),
		},
		Durable: true,
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			dumpLogs(t, c)
		}
		require.NoError(t, c.Stop())
	})
	f, err := fleet.NewConsul(fleet.ConsulConfig{Address: c.ConsulAddr()}, hclog.NewNullLogger())
	require.NoError(t, err)
	return &suite{Cluster: c, nomadBinary: found["nomad"], fleet: f, picked: map[string]bool{}}
}

// stateDir is short: Nomad's and the plugins' sockets live under it, and a
// socket's path may have no more than 107 bytes.
func stateDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "pd-e2e-")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

func dumpLogs(t *testing.T, c *cluster.Cluster) {
	for _, name := range []string{"nomad", "autoscaler"} {
		b, err := os.ReadFile(c.LogFile(name))
		if err != nil {
			continue
		}
		lines := strings.Split(string(b), "\n")
		t.Logf("end of %s's log:\n%s", name, strings.Join(lines[max(0, len(lines)-60):], "\n"))
	}
}

func jobBecomesHealthy(t *testing.T, s *suite) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	s.runJob(t, ctx)
	require.Equal(t, map[pd.Role]int{pd.RolePrefill: 2, pd.RoleDecode: 6}, s.usable(t))
}

// runJob runs the committed job file and waits until all of it is healthy.
func (s *suite) runJob(t *testing.T, ctx context.Context) {
	var vars []string
	port := s.Ports.Router
	vars = append(vars, "router_port="+itoa(port))
	id, err := demo.RunJob(ctx, s.nomadBinary, s.Nomad, jobFile, vars)
	require.NoError(t, err)
	require.Equal(t, "pd", id)
	s.router = "http://127.0.0.1:" + itoa(port)
	w := demo.Watcher{
		Nomad: s.Nomad, Consul: s.Consul, Job: id, Alive: s.Err,
		Each: func(p demo.Progress) { t.Logf("%s %s", p.Instance, p.Text()) },
	}
	require.NoError(t, w.Wait(ctx))
	require.NoError(t, demo.Ready(ctx, s.router))
}

// instances reads the fleet from Consul.
func (s *suite) instances(t *testing.T) []*fleet.Instance {
	snap, err := s.fleet.Fetch(t.Context())
	require.NoError(t, err)
	return snap.Instances
}

// usable counts the usable instances by role.
func (s *suite) usable(t *testing.T) map[pd.Role]int {
	n := map[pd.Role]int{}
	for _, i := range s.instances(t) {
		if i.Usable() {
			n[i.Role]++
		}
	}
	return n
}

// count is a group's wanted count now.
func (s *suite) count(t *testing.T, group string) int {
	job, _, err := s.Nomad.Jobs().Info("pd", nil)
	require.NoError(t, err)
	for _, g := range job.TaskGroups {
		if *g.Name == group {
			return *g.Count
		}
	}
	require.Fail(t, "no such group", group)
	return 0
}

// allocs lists the job's allocations that are to run, of one group.
func (s *suite) allocs(t *testing.T, group string) []*nomadapi.AllocationListStub {
	all, _, err := s.Nomad.Jobs().Allocations("pd", false, nil)
	require.NoError(t, err)
	var out []*nomadapi.AllocationListStub
	for _, a := range all {
		if a.TaskGroup == group && a.DesiredStatus == "run" {
			out = append(out, a)
		}
	}
	return out
}

func closeBody(b io.ReadCloser) {
	_, _ = io.Copy(io.Discard, b)
	_ = b.Close()
}
