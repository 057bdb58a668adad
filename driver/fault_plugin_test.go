package driver_test

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/nomad/plugins/base"
	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/stretchr/testify/require"
)

func TestFault_pluginKilledWhileTheTaskRuns(t *testing.T) {
	s := newScene(t, "serve")
	s.start()
	pid := s.task.said("ready")
	s.wait(2)
	s.restart()
	s.wait(2)
	res, err := s.ExecTask(s.task.ID, []string{"echo", "still here"}, soon)
	require.NoError(t, err)
	require.Equal(t, "still here\n", string(res.Stdout))
	require.NoError(t, syscall.Kill(pid, 0), "the engine was not restarted")
	s.stop()
	s.settles(ending{})
}

func TestFault_pluginKilledAndTheTaskEndsMeanwhile(t *testing.T) {
	s := newScene(t, "exit-on-usr1:42")
	s.start()
	supervisor := s.shim()
	s.kill()
	require.NoError(t, syscall.Kill(s.task.said("ready"), syscall.SIGUSR1))
	gone(t, supervisor)
	s.plugin()
	s.recover()
	s.wait(2)
	s.settles(ending{code: 42})
}

// An agent that is stopped in order ends its plugins in order.
func TestFault_pluginEndedInOrder(t *testing.T) {
	s := newScene(t, "serve")
	s.start()
	pid := s.task.said("ready")
	s.client.Kill()
	require.NoError(t, syscall.Kill(pid, 0), "the engine lives on")
	s.plugin()
	s.recover()
	s.stop()
	s.settles(ending{})
}

// Nomad calls StartTask again with the same task when the plugin dies in it.
func TestFault_pluginKilledWithinStartTask(t *testing.T) {
	const ms, atItsEnd = time.Millisecond, time.Hour
	for _, after := range []time.Duration{0, 2 * ms, 5 * ms, 10 * ms, 20 * ms, 40 * ms, atItsEnd} {
		t.Run(after.String(), func(t *testing.T) {
			s := newScene(t, "tree")
			ended := make(chan error, 1)
			go func() {
				_, _, err := s.StartTask(s.task.TaskConfig)
				ended <- err
			}()
			select { // the one delay that is meant: the fault's own moment
			case <-time.After(after):
			case <-ended:
			}
			s.kill()
			s.plugin()
			s.start()
			require.Eventually(t, func() bool {
				return len(processesOf(t, s.task.AllocID)) == len([]string{"shim", "leader", "child", "orphan"})
			}, soon, often, "one life only: %v", processesOf(t, s.task.AllocID))
			s.stop()
			s.settles(ending{})
		})
	}
}

// The agent is killed: nobody reads what the plugin logs, and nobody asks.
func TestFault_agentGonePluginStays(t *testing.T) {
	s := newScene(t, "exit-on-usr1:7")
	r, w, err := os.Pipe()
	require.NoError(t, err)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), pluginEnv+"="+filepath.Join(t.TempDir(), "dump"), base.Handshake.MagicCookieKey+"="+base.Handshake.MagicCookieValue)
	cmd.Stderr = w
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	died := make(chan struct{})
	go func() { _ = cmd.Wait(); close(died) }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-died })
	w.Close()
	line, err := bufio.NewReader(out).ReadString('\n') // core|app|network|address|protocol
	require.NoError(t, err)
	at := strings.Split(strings.TrimSpace(line), "|")
	attach := func() (drivers.DriverPlugin, *plugin.Client) {
		c := plugin.NewClient(&plugin.ClientConfig{
			HandshakeConfig: base.Handshake,
			Plugins: plugin.PluginSet{
				base.PluginTypeDriver: drivers.NewDriverPlugin(nil, hclog.NewNullLogger()), base.PluginTypeBase: &base.PluginBase{},
			},
			AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC}, Logger: hclog.NewNullLogger(),
			Reattach: &plugin.ReattachConfig{Protocol: plugin.ProtocolGRPC, ProtocolVersion: 2, Pid: cmd.Process.Pid, Addr: unixAddr(at[3])},
		})
		conn, err := c.Client()
		require.NoError(t, err)
		raw, err := conn.Dispense(base.PluginTypeDriver)
		require.NoError(t, err)
		return raw.(drivers.DriverPlugin), c
	}
	d, _ := attach()
	require.NoError(t, d.SetConfig(pluginConfig(t, s.cfg)))
	s.task.start(d)
	r.Close() // the agent
	require.NoError(t, syscall.Kill(s.task.said("ready"), syscall.SIGUSR1))
	d, c := attach() // the next agent
	require.Equal(t, 7, waitResult(t, d, s.task.ID).ExitCode)
	require.NoError(t, d.DestroyTask(s.task.ID, false))
	s.leavesNothing()
	select {
	case <-died:
		t.Fatal("the plugin died of its own log")
	default:
	}
	c.Kill()
}

func TestFault_manyWaiters(t *testing.T) {
	for _, n := range []int{2, 50} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			s := newScene(t, "exit-on-usr1:9")
			s.start()
			s.wait(n)
			require.NoError(t, syscall.Kill(s.task.said("ready"), syscall.SIGUSR1))
			s.settles(ending{code: 9})
		})
	}
}

func TestFault_doubleStart(t *testing.T) {
	t.Run("at once", func(t *testing.T) {
		s := newScene(t, "tree")
		var wg sync.WaitGroup
		var mu sync.Mutex
		var refused []error
		for range 8 {
			wg.Go(func() {
				h, _, err := s.StartTask(s.task.TaskConfig)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					refused = append(refused, err)
					return
				}
				s.handle = h
			})
		}
		wg.Wait()
		require.Len(t, refused, 7)
		for _, err := range refused {
			require.ErrorContains(t, err, "was started already")
		}
		s.task.said("ready")
		require.Len(t, processesOf(t, s.task.AllocID), 4, "one life: shim, leader, child, orphan")
		s.stop()
		s.settles(ending{})
	})
	t.Run("after its end", func(t *testing.T) {
		s := newScene(t, "exit-on-usr1:3")
		s.start()
		require.NoError(t, syscall.Kill(s.task.said("ready"), syscall.SIGUSR1))
		require.Equal(t, 3, waitResult(t, s, s.task.ID).ExitCode)
		_, _, err := s.StartTask(s.task.TaskConfig)
		require.ErrorContains(t, err, "was started already", "it is still to be destroyed")
		s.settles(ending{code: 3})
		require.NoError(t, os.Remove(filepath.Join(s.task.notes, "ready")))
		s.start() // the same task again, as after a restart within one life of the agent
		require.NoError(t, s.StopTask(s.task.ID, 0, "SIGKILL"))
		s.settles(ending{code: 137, signal: 9})
	})
}

func TestFault_stopDuringStart(t *testing.T) {
	t.Run("racing StartTask", func(t *testing.T) {
		s := newScene(t, "serve")
		started := make(chan error, 1)
		go func() {
			_, _, err := s.StartTask(s.task.TaskConfig)
			started <- err
		}()
		require.Eventually(t, func() bool { // it is under way
			_, err := os.Stat(s.stateDir())
			return err == nil
		}, soon, time.Millisecond)
		require.NoError(t, s.StopTask(s.task.ID, 0, "SIGKILL"))
		require.NoError(t, <-started)
		s.settles(ending{code: 137, signal: 9})
	})
	t.Run("an engine that is loading and deaf", func(t *testing.T) {
		s := newScene(t, "stubborn")
		s.start()
		s.wait(2)
		require.NoError(t, s.StopTask(s.task.ID, 200*time.Millisecond, ""))
		s.settles(ending{code: 137, signal: 9})
	})
	t.Run("before the engine has got to its first line", func(t *testing.T) {
		s := newScene(t, "stubborn")
		s.handle = s.task.start(s)
		require.NoError(t, s.StopTask(s.task.ID, 0, "SIGKILL"))
		s.settles(ending{code: 137, signal: 9})
	})
	t.Run("again and with less patience", func(t *testing.T) {
		s := newScene(t, "stubborn")
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		events, err := s.TaskEvents(ctx)
		require.NoError(t, err)
		s.start()
		patient := make(chan error, 1)
		go func() { patient <- s.StopTask(s.task.ID, time.Hour, "") }()
		eventsUntil(t, s.task, events, "Draining")
		cancel()
		require.NoError(t, s.StopTask(s.task.ID, 100*time.Millisecond, ""))
		require.NoError(t, <-patient)
		s.settles(ending{code: 137, signal: 9})
	})
}

func TestFault_destroyByForce(t *testing.T) {
	t.Run("running", func(t *testing.T) {
		s := newScene(t, "tree")
		s.start()
		require.ErrorContains(t, s.DestroyTask(s.task.ID, false), "is still running")
		ch, err := s.WaitTask(t.Context(), s.task.ID)
		require.NoError(t, err)
		require.NoError(t, s.DestroyTask(s.task.ID, true))
		require.Equal(t, 9, (<-ch).Signal, "who waited is told")
		s.leavesNothing()
	})
	t.Run("stopped", func(t *testing.T) {
		s := newScene(t, "serve")
		s.start()
		s.stop()
		require.NoError(t, s.DestroyTask(s.task.ID, true))
		s.leavesNothing()
	})
	t.Run("unknown", func(t *testing.T) {
		s := newScene(t, "serve")
		require.NoError(t, s.DestroyTask(s.task.ID, true))
		s.leavesNothing()
	})
	t.Run("twice at once", func(t *testing.T) {
		s := newScene(t, "tree")
		s.start()
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				if err := s.DestroyTask(s.task.ID, true); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		s.leavesNothing()
	})
}

type unixAddr string

func (unixAddr) Network() string  { return "unix" }
func (a unixAddr) String() string { return string(a) }
