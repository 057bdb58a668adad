package driver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
	"golang.org/x/sys/unix"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

// ExecTask implements drivers.DriverPlugin: script checks and the like.
func (d *Driver) ExecTask(id string, cmd []string, timeout time.Duration) (*drivers.ExecTaskResult, error) {
	ctx, cancel := context.WithTimeoutCause(d.ctx, timeout, fmt.Errorf("exec: no end within %s", timeout))
	defer cancel()
	var stdout, stderr bytes.Buffer
	res, err := d.ExecTaskStreaming(ctx, id, &drivers.ExecOptions{
		Command: cmd,
		Stdin:   io.NopCloser(bytes.NewReader(nil)),
		Stdout:  nopWriteCloser{&stdout}, Stderr: nopWriteCloser{&stderr},
	})
	if err != nil {
		return nil, err
	}
	return &drivers.ExecTaskResult{Stdout: stdout.Bytes(), Stderr: stderr.Bytes(), ExitResult: res}, nil
}

type nopWriteCloser struct{ io.Writer }

func (nopWriteCloser) Close() error { return nil }

// quiet is how long the output of an ended command must be silent to count as
// complete, should a process that it has left behind hold it open.
const quiet = 500 * time.Millisecond

// ExecTaskStreaming implements drivers.ExecTaskStreamingDriver: `nomad alloc
// exec`. The command runs under the task's supervisor, so that it ends with
// the task even if this plugin is gone.
func (d *Driver) ExecTaskStreaming(ctx context.Context, id string, o *drivers.ExecOptions) (*drivers.ExitResult, error) {
	h, err := d.task(id)
	if err != nil {
		return nil, err
	}
	if len(o.Command) == 0 {
		return nil, errors.New("exec: no command")
	}
	if !h.running() {
		return nil, execEnded(h)
	}
	s, err := openStreams(o)
	if err != nil {
		return nil, err
	}
	defer s.close()
	// Not at the end of the exec: what Nomad still forwards would then fail it.
	context.AfterFunc(ctx, func() { o.Stdin.Close() })
	exit, err := h.client.Exec(ctx, o.Command, o.Tty, s.child[0], s.child[1], s.child[2], s.copy)
	if err != nil {
		var refused *shim.Refused
		if errors.As(err, &refused) { // a command that is not there, most often: a shell says 127
			_, _ = fmt.Fprintln(o.Stderr, refused.Reason)
			return &drivers.ExitResult{ExitCode: 127, Err: err}, nil
		}
		if errors.Is(err, shim.ErrEnded) || ctx.Err() == nil && h.ended(endNews) {
			return nil, execEnded(h)
		}
		return nil, fmt.Errorf("exec: %w", err)
	}
	s.drain(ctx)
	return &drivers.ExitResult{ExitCode: exit.Code, Signal: exit.Signal}, nil
}

// endNews is how long the news of a task's end may be behind its supervisor's.
const endNews = 2 * time.Second

func execEnded(h *handle) error {
	return fmt.Errorf("exec: task %s has ended: nothing can run beside it any more", h.cfg.Name)
}

// streams are the two ends of an exec's standard files: the child's, which
// travel to the supervisor, and ours, which are copied to and from Nomad.
type streams struct {
	opts    *drivers.ExecOptions
	child   [3]*os.File
	in      *os.File
	outs    [2]*os.File // one, for a terminal
	outputs sync.WaitGroup
	ended   chan struct{}
}

func openStreams(o *drivers.ExecOptions) (*streams, error) {
	s := &streams{opts: o, ended: make(chan struct{})}
	if o.Tty {
		return s, s.openTerminal()
	}
	var errs [3]error
	s.child[0], s.in, errs[0] = os.Pipe()
	s.outs[0], s.child[1], errs[1] = os.Pipe()
	s.outs[1], s.child[2], errs[2] = os.Pipe()
	if err := errors.Join(errs[:]...); err != nil {
		s.close()
		return nil, fmt.Errorf("exec: open pipes: %w", err)
	}
	return s, nil
}

func (s *streams) openTerminal() error {
	master, slave, err := openPTY()
	if err != nil {
		return fmt.Errorf("exec: open terminal: %w", err)
	}
	s.child = [3]*os.File{slave, slave, slave}
	s.in, s.outs[0] = master, master
	return nil
}

// copy runs once the child has its ends, and moves data until they are closed.
func (s *streams) copy() {
	for _, f := range s.child {
		f.Close() // ours; the child has its own
	}
	go func() {
		_, err := io.Copy(s.in, s.opts.Stdin)
		if !s.opts.Tty {
			s.in.Close()
		}
		if err != nil { // the command reads no more, but its user may still type
			_, _ = io.Copy(io.Discard, s.opts.Stdin)
		}
	}()
	for i, to := range []io.Writer{s.opts.Stdout, s.opts.Stderr} {
		if from := s.outs[i]; from != nil {
			s.outputs.Go(func() { s.copyOut(to, from) })
		}
	}
	if s.opts.Tty && s.opts.ResizeCh != nil {
		go s.resize()
	}
}

func (s *streams) resize() {
	for {
		select {
		case size, ok := <-s.opts.ResizeCh:
			if !ok {
				return
			}
			s.setSize(size)
		case <-s.ended:
			return
		}
	}
}

func (s *streams) setSize(size drivers.TerminalSize) {
	conn, err := s.in.SyscallConn() // Fd would make the file blocking, and close hang
	if err != nil {
		return
	}
	_ = conn.Control(func(fd uintptr) {
		_ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: uint16(size.Height), Col: uint16(size.Width)})
	})
}

// copyOut passes output on until its end, or until it is quiet after drain
// has set a deadline. A slow reader of it is no silence.
func (s *streams) copyOut(to io.Writer, from *os.File) {
	buf := make([]byte, 32<<10)
	for heard := false; ; {
		n, err := from.Read(buf)
		if n > 0 {
			heard = true
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) && heard {
			heard = false
			_ = from.SetReadDeadline(time.Now().Add(quiet))
		} else if err != nil {
			return
		}
	}
}

// drain waits until the ended command's output has been passed on.
func (s *streams) drain(ctx context.Context) {
	for _, f := range s.outs {
		if f != nil {
			_ = f.SetReadDeadline(time.Now().Add(quiet))
		}
	}
	done := make(chan struct{})
	go func() { s.outputs.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
}

func (s *streams) close() {
	close(s.ended)
	for _, f := range append(s.child[:], s.in, s.outs[0], s.outs[1]) {
		if f != nil {
			f.Close()
		}
	}
}
