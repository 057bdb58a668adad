package driver

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/nomad/plugins/drivers"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

// handle is one task. Everything but the result is fixed when it is made; the
// result is set once, by watch, before done is closed.
type handle struct {
	cfg    *drivers.TaskConfig
	state  taskState
	client shim.Client
	log    hclog.Logger

	done     chan struct{}
	result   *drivers.ExitResult
	finished time.Time
}

func newHandle(c *drivers.TaskConfig, s taskState, log hclog.Logger) *handle {
	return &handle{
		cfg: c, state: s, client: shim.Client{Dir: s.Dir},
		log:  log.With("task_id", c.ID),
		done: make(chan struct{}),
	}
}

// adopt makes a task known and starts to wait for its end.
func (d *Driver) adopt(c *drivers.TaskConfig, s taskState) {
	h := newHandle(c, s, d.log)
	d.mu.Lock()
	d.tasks[c.ID] = h
	d.mu.Unlock()
	d.countRunning()
	told := make(chan struct{})
	go func() {
		defer close(told)
		d.tell(h)
	}()
	go func() {
		rec, err := h.watch(d.ctx)
		if err != nil {
			return // the plugin ends, the task does not
		}
		var note string
		h.result, note = exitResult(rec)
		h.finished = rec.FinishedAt
		close(h.done)
		d.numbers.Ended(howEnded(rec))
		d.countRunning()
		h.log.Info("task ended", "exit_code", h.result.ExitCode, "signal", h.result.Signal, "oom", h.result.OOMKilled, "error", h.result.Err)
		select { // the story before its end
		case <-told:
		case <-time.After(storyLimit):
		}
		if note != "" {
			d.event(c, note)
		}
	}()
}

const askAgain = 500 * time.Millisecond

// watch returns how the task ended. It fails only with ctx.
func (h *handle) watch(ctx context.Context) (outcome, error) {
	for {
		rec, err := h.client.Wait(ctx)
		if err == nil {
			return outcome{Record: rec}, nil
		}
		if ctx.Err() != nil {
			return outcome{}, ctx.Err()
		}
		// No answer: it has ended already, or somebody killed the shim.
		shimAlive := h.ours(h.state.Started.Shim) // before looking for the record, which it writes last
		rec, recErr := shim.ReadRecord(h.state.Dir, h.cfg.ID)
		if recErr == nil {
			return outcome{Record: rec}, nil
		}
		if !shimAlive {
			return h.lost(errors.Join(err, recErr)), nil
		}
		select {
		case <-ctx.Done():
			return outcome{}, ctx.Err()
		case <-time.After(askAgain):
		}
	}
}

// ours reports whether the process that was p when it was recorded still runs.
func (h *handle) ours(p shim.Proc) bool {
	boot, err := shim.BootID()
	return err == nil && boot == h.state.Started.Boot && p.Alive()
}

// lost settles a task whose supervisor is gone without a word.
func (h *handle) lost(cause error) outcome {
	h.log.Warn("supervisor is gone", "shim_pid", h.state.Started.Shim.PID, "error", cause)
	boot, err := shim.BootID()
	if err == nil && boot != h.state.Started.Boot {
		return outcome{Lost: errors.New("the machine was restarted while the task ran")}
	}
	n, err := shim.KillOrphans(h.cfg.ID, h.state.Started.Task, h.state.Cgroup)
	if err != nil {
		h.log.Error("kill what the supervisor left", "error", err)
	}
	return outcome{Lost: fmt.Errorf("the task's supervisor (process %d) was killed; its exit code is lost and %d processes that it left were killed",
		h.state.Started.Shim.PID, n)}
}

func (h *handle) running() bool {
	select {
	case <-h.done:
		return false
	default:
		return true
	}
}

const (
	callTimeout = 10 * time.Second
	// stopCallTimeout is how long a supervisor may take to accept a stop.
	stopCallTimeout = 3 * time.Second
	// signalGap keeps two equal signals from becoming one.
	signalGap = 200 * time.Millisecond
	// killSlack is how much longer than the kill timeout a stop may take
	// before the driver kills around the supervisor.
	killSlack = 15 * time.Second
)

// stop ends the task and returns when nothing is left of it.
func (h *handle) stop(sig syscall.Signal, grace time.Duration) error {
	if !h.running() {
		return nil
	}
	limit := grace + killSlack
	if !h.askToStop(sig, grace) { // it may have heard all the same, on a machine that is busy
		limit = max(grace, stopCallTimeout)
	}
	if h.ended(limit) {
		return nil
	}
	// The supervisor hangs (stuck in the kernel).
	h.log.Error("supervisor does not end the task; killing both", "shim_pid", h.state.Started.Shim.PID)
	_ = h.state.Started.Shim.Signal(syscall.SIGKILL)
	if h.ended(killSlack) {
		return nil
	}
	return fmt.Errorf("stop task %s: some of its processes do not die", h.cfg.ID)
}

// askToStop has the supervisor stop the task; false: it does not react.
func (h *handle) askToStop(sig syscall.Signal, grace time.Duration) bool {
	err := h.callStop(sig, grace)
	if errors.Is(err, context.DeadlineExceeded) {
		// Somebody may have stopped the process itself (SIGSTOP).
		h.log.Warn("supervisor does not answer", "shim_pid", h.state.Started.Shim.PID)
		_ = h.state.Started.Shim.Signal(syscall.SIGCONT)
		err = h.callStop(sig, grace)
	}
	switch {
	case err == nil:
		return true
	case errors.Is(err, context.DeadlineExceeded):
		return false
	}
	// No way to its socket, which the task may have removed: a signal will do,
	// and a second one for what is left after the grace. It may also have ended
	// just now, and then neither meets anybody.
	h.log.Warn("stop by way of the supervisor", "error", err)
	_ = h.state.Started.Shim.Signal(syscall.SIGTERM)
	if !h.ended(max(grace, signalGap)) {
		_ = h.state.Started.Shim.Signal(syscall.SIGTERM)
	}
	return true
}

func (h *handle) callStop(sig syscall.Signal, grace time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopCallTimeout)
	defer cancel()
	return h.client.Stop(ctx, sig, grace)
}

func (h *handle) ended(limit time.Duration) bool {
	select {
	case <-h.done:
		return true
	case <-time.After(limit):
		return false
	}
}

func (h *handle) signal(sig syscall.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	return h.client.Signal(ctx, sig)
}

// shimExit is how long a supervisor may take to end after its task: it still
// answers whoever waits.
const shimExit = 3 * time.Second

// remove deletes the driver's own files of an ended task, and returns when its
// supervisor is gone: Nomad then removes the task's cgroups, once, and on
// version 1 those with a process in them stay for ever.
func (h *handle) remove() error {
	dirs := findCgroups(h.cfg)
	for end := time.Now().Add(shimExit); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if !h.ours(h.state.Started.Shim) && dirs.Empty() {
			break
		}
	}
	if err := os.RemoveAll(h.state.Dir); err != nil {
		return fmt.Errorf("remove task state: %w", err)
	}
	if above := filepath.Dir(h.state.Dir); filepath.Base(above) == allocStateDir { // not the operator's state_dir
		_ = os.Remove(above) // if this was the last one in it
	}
	return nil
}

func (h *handle) status() *drivers.TaskStatus {
	s := &drivers.TaskStatus{
		ID: h.cfg.ID, Name: h.cfg.Name,
		State:     drivers.TaskStateRunning,
		StartedAt: h.state.Started.At,
		DriverAttributes: map[string]string{
			"pid":      strconv.Itoa(h.state.Started.Task.PID),
			"shim_pid": strconv.Itoa(h.state.Started.Shim.PID),
		},
	}
	if !h.running() {
		s.State = drivers.TaskStateExited
		s.CompletedAt = h.finished
		s.ExitResult = h.result.Copy()
	}
	return s
}
