//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/dev/cluster"
	"github.com/nomad-vllm/nomad-vllm/dev/demo"
	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
)

// eventually polls until ok says yes, bounded by limit.
func eventually(t *testing.T, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	require.Eventually(t, ok, limit, 250*time.Millisecond, what)
}

// pick returns one usable instance of the role.
func (s *suite) pick(t *testing.T, role pd.Role) *fleet.Instance {
	for _, i := range s.instances(t) {
		if i.Role == role && i.Usable() {
			return i
		}
	}
	require.Fail(t, "no usable instance", role)
	return nil
}

// load sends requests through the router from several clients until stop is
// closed, and returns each request's failure.
func (s *suite) load(ctx context.Context, clients int, stop <-chan struct{}) (served int, failures []error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				_, err := demo.Ask(ctx, s.router, chat(longPrompt(fmt.Sprintf("c%dn%d", c, n), 400), 16, ""))
				mu.Lock()
				served++
				if err != nil {
					failures = append(failures, err)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return served, failures
}

func prefillKilled(t *testing.T, s *suite) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	victim := s.pick(t, pd.RolePrefill)
	pid := enginePID(t, victim)
	stop, finished := make(chan struct{}), make(chan struct{})
	var served int
	var failures []error
	go func() {
		defer close(finished)
		served, failures = s.load(ctx, 4, stop)
	}()
	time.AfterFunc(2*time.Second, func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	s.comesBack(t, victim, pid)
	close(stop)
	<-finished
	require.Empty(t, failures)
	require.Greater(t, served, 20)
	t.Logf("%d requests, none lost", served)
}

// comesBack waits until the instance, whose engine had the pid, has another
// one that is healthy.
func (s *suite) comesBack(t *testing.T, i *fleet.Instance, pid int) {
	t.Helper()
	eventually(t, 60*time.Second, "Nomad restarts the engine", func() bool {
		now := enginePID(t, i)
		return now != 0 && now != pid && s.restarts(t, i.Meta.Alloc) == 1
	})
	eventually(t, 60*time.Second, "it is healthy again", func() bool {
		return healthy(t.Context(), i.URL) && s.usableID(t, i.ID)
	})
}

// usableID reports whether Consul has the instance as usable.
func (s *suite) usableID(t *testing.T, id string) bool {
	for _, i := range s.instances(t) {
		if i.ID == id {
			return i.Usable()
		}
	}
	return false
}

func healthy(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/health", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	closeBody(resp.Body)
	return resp.StatusCode == http.StatusOK
}

func (s *suite) restarts(t *testing.T, alloc string) int {
	a, _, err := s.Nomad.Allocations().Info(alloc, nil)
	require.NoError(t, err)
	n := 0
	for _, ts := range a.TaskStates {
		n += int(ts.Restarts)
	}
	return n
}

func agentKilled(t *testing.T, s *suite) { agentAway(t, s, s.KillNomad) }

// agentStopped is what an upgrade of Nomad does: the agent ends its plugins,
// and must leave their tasks.
func agentStopped(t *testing.T, s *suite) {
	agentAway(t, s, func() {
		require.NotEmpty(t, s.driverPlugins(t))
		s.StopNomad()
		require.Empty(t, s.driverPlugins(t), "the plugin ends with its agent")
	})
}

// agentAway ends the agent, lets one engine die while there is none, and wants
// every other as it was when the agent is back.
func agentAway(t *testing.T, s *suite, end func()) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	pids := map[string]int{}
	for _, i := range s.instances(t) {
		pids[i.ID] = enginePID(t, i)
		require.NotZero(t, pids[i.ID])
	}
	first, second := s.pickFresh(t), s.pickFresh(t)
	restarts := s.allRestarts(t)
	end()
	_, err := demo.Ask(ctx, s.router, chat(longPrompt("agentless", 300), 16, ""))
	require.NoError(t, err, "the servers and the router outlive the agent")
	require.NoError(t, syscall.Kill(pids[first.ID], syscall.SIGKILL))
	require.NoError(t, s.StartNomad(ctx))
	s.comesBack(t, first, pids[first.ID])
	eventually(t, 60*time.Second, "every allocation runs again", func() bool {
		for _, g := range []string{"prefill", "decode"} {
			for _, a := range s.allocs(t, g) {
				if a.ClientStatus != nomadapi.AllocClientStatusRunning {
					return false
				}
			}
		}
		return len(s.allocs(t, "decode")) == 6
	})
	for _, i := range s.instances(t) {
		if i.ID != first.ID {
			require.Equal(t, pids[i.ID], enginePID(t, i), "%s was not restarted", i.ID)
		}
	}
	require.Equal(t, restarts+1, s.allRestarts(t), "nothing else was restarted")
	// Recovered means supervised: a task that dies now is noticed.
	require.NoError(t, syscall.Kill(pids[second.ID], syscall.SIGKILL))
	s.comesBack(t, second, pids[second.ID])
	for _, i := range []*fleet.Instance{first, second} {
		require.Equal(t, []string{"137 by signal 9"}, s.exits(t, i.Meta.Alloc), "the true exit, told once")
	}
}

// pickFresh returns a usable decode that was never restarted, another at each call.
func (s *suite) pickFresh(t *testing.T) *fleet.Instance {
	for _, i := range s.instances(t) {
		if i.Role == pd.RoleDecode && i.Usable() && !s.picked[i.ID] && s.restarts(t, i.Meta.Alloc) == 0 {
			s.picked[i.ID] = true
			return i
		}
	}
	require.Fail(t, "no decode that was never restarted")
	return nil
}

// exits are the ends that Nomad was told of, for all tasks of an allocation.
func (s *suite) exits(t *testing.T, alloc string) (out []string) {
	a, _, err := s.Nomad.Allocations().Info(alloc, nil)
	require.NoError(t, err)
	for _, ts := range a.TaskStates {
		for _, e := range ts.Events {
			if e.Type == nomadapi.TaskTerminated {
				out = append(out, fmt.Sprintf("%d by signal %d", e.ExitCode, e.Signal))
			}
		}
	}
	return out
}

// driverPlugins are the processes that run the driver as the agent's plugin.
func (s *suite) driverPlugins(t *testing.T) (found []string) {
	all, err := cluster.Leftovers(s.StateDir())
	require.NoError(t, err)
	for _, l := range all {
		if strings.HasSuffix(l, "nomad-driver-vllm") {
			found = append(found, l)
		}
	}
	return found
}

func (s *suite) allRestarts(t *testing.T) (n int) {
	for _, g := range []string{"prefill", "decode"} {
		for _, a := range s.allocs(t, g) {
			n += s.restarts(t, a.ID)
		}
	}
	return n
}

func jobStop(t *testing.T, s *suite) {
	_, _, err := s.Nomad.Jobs().Deregister("pd", false, nil)
	require.NoError(t, err)
	eventually(t, 90*time.Second, "every allocation ends", func() bool {
		all, _, err := s.Nomad.Jobs().Allocations("pd", true, nil)
		require.NoError(t, err)
		for _, a := range all {
			if a.ClientStatus == nomadapi.AllocClientStatusRunning || a.ClientStatus == nomadapi.AllocClientStatusPending {
				return false
			}
		}
		return true
	})
	left, err := cluster.Leftovers(s.StateDir())
	require.NoError(t, err)
	for _, l := range left {
		require.NotContains(t, l, " serve ", "an engine is left")
		require.NotContains(t, l, "shim", "a supervisor is left")
		require.NotContains(t, l, "pd-router", "a router is left")
	}
	require.Empty(t, s.instances(t), "Consul has forgotten all of them")
}
