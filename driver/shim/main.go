package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nomad-vllm/nomad-vllm/driver/cgroup"
)

// Arg is the first argument with which an executable becomes a shim.
const Arg = "shim"

const (
	reportFD    = 3
	flushLimit  = 2 * time.Second // for the log's last lines when the task is over
	answerLimit = 2 * time.Second // for waiters to take the record
	recordRetry = time.Second
)

// Main is a shim's whole life; it returns the process's exit status. The
// executable that embeds the driver calls it when its first argument is Arg.
func Main() int {
	out := os.NewFile(reportFD, "report")
	s, err := begin(os.Stdin)
	if err != nil {
		_ = json.NewEncoder(out).Encode(report{Error: err.Error()})
		return 1
	}
	if err := json.NewEncoder(out).Encode(report{Started: s.started}); err != nil {
		s.abandon()
		return 1
	}
	out.Close()
	if err := s.finish(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// supervisor is the state of one shim.
type supervisor struct {
	spec     Spec
	reaper   *reaper
	task     *child
	started  Started
	listener *net.UnixListener
	tail     *tail
	notes    *notes
	pumps    []*pump
	oomStart cgroup.OOM // the cgroup may be older than this start of the task

	stopAsked atomic.Bool
	record    Record        // written before ended is closed, then constant
	ended     chan struct{} // closed when the record is complete
	open      connections
}

// begin does everything up to and including the start of the engine.
func begin(in io.Reader) (*supervisor, error) {
	s := &supervisor{reaper: newReaper(), tail: &tail{}, notes: newNotes(time.Now()), ended: make(chan struct{})}
	if err := json.NewDecoder(in).Decode(&s.spec); err != nil {
		return nil, fmt.Errorf("read task: %w", err)
	}
	unix.CloseOnExec(reportFD)
	closeInherited()
	// A shim outlives whatever happens to the agent that started it. Not by
	// signal.Ignore: what is ignored stays so in the engine, and a Python
	// that starts with SIGINT ignored cannot be interrupted.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE, syscall.SIGQUIT)
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become subreaper: %w", err)
	}
	s.oomStart = cgroup.ReadOOM(s.spec.Memory)
	if s.reaper.legacy = newLegacy(s.spec); s.reaper.legacy.protected {
		killAsOne(s.spec.Memory)
	}
	if err := s.listen(); err != nil {
		return nil, err
	}
	if err := s.startTask(); err != nil {
		s.listener.Close()
		return nil, err
	}
	go s.reaper.run()
	go s.serve()
	go s.stopOnTerm()
	return s, nil
}

func (s *supervisor) startTask() error {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", os.DevNull, err)
	}
	defer null.Close()
	files := []uintptr{null.Fd()}
	for _, path := range []string{s.spec.Stdout, s.spec.Stderr} {
		p, w, err := startPump(path, s.tail, s.notes)
		if err != nil {
			return err
		}
		defer w.Close() // or the pump would never see the engine's end
		s.pumps = append(s.pumps, p)
		files = append(files, w.Fd())
	}
	s.task, err = s.reaper.spawn(s.spec.Path, s.spec.Argv, s.attr(files, false))
	if err != nil {
		return err
	}
	self, err := ReadStat(os.Getpid())
	if err != nil {
		return fmt.Errorf("look at myself: %w", err)
	}
	boot, err := BootID()
	if err != nil {
		return err
	}
	s.started = Started{Shim: self.Proc, Task: s.task.Proc, Boot: boot, At: time.Now()}
	return nil
}

// attr is how everything that the shim starts is started: the leader of a
// session of its own, as the task's user, in the task's directory.
func (s *supervisor) attr(files []uintptr, tty bool) *syscall.ProcAttr {
	sys := &syscall.SysProcAttr{Setsid: true, Setctty: tty}
	if u := s.spec.User; u != nil {
		sys.Credential = &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: u.Groups}
	}
	return &syscall.ProcAttr{Dir: s.spec.WorkDir, Env: s.spec.Env, Files: files, Sys: sys}
}

// finish waits for the engine, clears up behind it and hands over its record.
func (s *supervisor) finish() error {
	ws := <-s.task.exited
	finished := time.Now()
	stopAsked := s.stopAsked.Load() // whoever asks from here on did not end it
	s.reaper.close()                // or an exec could start behind the back of killTree
	// What the engine leaves behind holds GPU memory and ports.
	killErr := killTree(os.Getpid())
	if killErr != nil {
		fmt.Fprintln(os.Stderr, killErr)
	}
	s.flush(flushLimit)
	s.record = Record{
		Version: recordVersion, TaskID: s.spec.TaskID,
		StopAsked: stopAsked,
		StartedAt: s.started.At, FinishedAt: finished,
		Tail: s.tail.last(), Cause: s.notes.cause(finished),
	}
	s.recordOOM()
	if killErr != nil {
		s.record.Left = killErr.Error()
	}
	if ws.Signaled() {
		s.record.Signal = int(ws.Signal())
	} else {
		s.record.ExitCode = ws.ExitStatus()
	}
	for _, p := range s.pumps {
		s.record.Dropped += p.backlog.dropped()
	}
	err := s.record.write(s.spec.Dir)
	close(s.ended)
	for err != nil {
		// A full disk must not lose the exit code: as long as the directory
		// is there, stay and answer over the socket.
		fmt.Fprintln(os.Stderr, err)
		if _, gone := os.Stat(s.spec.Dir); errors.Is(gone, os.ErrNotExist) {
			break // nobody will come for it; who waits by now still gets it
		}
		time.Sleep(recordRetry)
		err = s.record.write(s.spec.Dir)
	}
	s.listener.Close()
	s.open.wait(answerLimit)
	_ = os.Remove(filepath.Join(s.spec.Dir, socketFile))
	return err
}

// abandon ends a task that nobody knows of: the plugin died while it started
// it. A task that it dies over later is for Driver.sweep.
func (s *supervisor) abandon() {
	_ = s.stop(syscall.SIGKILL, 0)
	<-s.task.exited
	s.reaper.close()
	_ = killTree(os.Getpid())
	_ = os.RemoveAll(s.spec.Dir)
}

// flush gives the log's last lines time to reach Nomad.
func (s *supervisor) flush(limit time.Duration) {
	deadline := time.After(limit)
	for _, p := range s.pumps {
		select {
		case <-p.written:
		case <-deadline:
			return
		}
	}
}

// stop asks the engine to end and, after grace, does not ask any more.
func (s *supervisor) stop(sig syscall.Signal, grace time.Duration) error {
	s.stopAsked.Store(true)
	err := s.task.signalGroup(sig)
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	go func() { // one for each plea: a later one may be less patient
		select {
		case <-s.ended:
		case <-time.After(grace):
			_ = killTree(os.Getpid())
		}
	}()
	return err
}

const termGrace = 30 * time.Second

// stopOnTerm takes SIGTERM as a plea to end the task, from whoever finds the
// shim by itself, and a second one as an order: that is how the driver stops a
// task whose socket is gone.
func (s *supervisor) stopOnTerm() {
	c := make(chan os.Signal, 2)
	signal.Notify(c, syscall.SIGTERM)
	for grace := termGrace; ; grace = 0 {
		<-c
		_ = s.stop(syscall.SIGTERM, grace)
	}
}
