package driver_test

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/hashicorp/nomad/plugins/drivers/proto"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver"
)

func TestExec_runsBesideTheEngine(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "serve")
	k.start(d)
	res, err := d.ExecTask(k.ID, []string{"sh", "-c", "echo out; echo err >&2; pwd; echo $" + engineEnv + "; exit 9"}, soon)
	require.NoError(t, err)
	require.Equal(t, "out\n"+k.TaskDir().Dir+"\nserve\n", string(res.Stdout))
	require.Equal(t, "err\n", string(res.Stderr))
	require.Equal(t, 9, res.ExitResult.ExitCode)
}

func TestExec_endsAtItsTimeoutAndLeavesNothing(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "serve")
	k.start(d)
	begin := time.Now()
	_, err := d.ExecTask(k.ID, []string{"sh", "-c", "echo $$ > " + k.notes + "/sh; sleep 100"}, 300*time.Millisecond)
	require.ErrorContains(t, err, "no end within 300ms")
	require.Less(t, time.Since(begin), soon)
	gone(t, k.said("sh"))
}

func TestExec_unknownCommandIs127(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "serve")
	k.start(d)
	res, err := d.ExecTask(k.ID, []string{"no-such-command"}, soon)
	require.NoError(t, err)
	require.Equal(t, 127, res.ExitResult.ExitCode)
	require.Contains(t, string(res.Stderr), `command "no-such-command": not found on PATH`)
	_, err = d.ExecTask(k.ID, nil, soon)
	require.ErrorContains(t, err, "exec: no command")
}

func TestExec_intoATaskThatHasEnded(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "exit:1")
	k.start(d)
	k.wait(d)
	_, err := d.ExecTask(k.ID, []string{"true"}, soon)
	require.ErrorContains(t, err, "exec: task vllm has ended: nothing can run beside it any more")
}

func TestExec_streams(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "serve")
	k.start(d)
	big := strings.Repeat("0123456789abcdef", 1<<15) // 512 KiB: more than any pipe on the way
	for _, c := range []struct {
		name, command, stdin string
		tty                  bool
		stdout, stderr       string
		code                 int
		stdoutContains       string
	}{
		{name: "output and code", command: "echo o; echo e >&2; exit 43", stdout: "o\n", stderr: "e\n", code: 43},
		{name: "input to its end", command: "cat", stdin: big, stdout: big},
		{name: "a background child does not hold the end up", command: "sleep 60 & echo done", stdout: "done\n"},
		{name: "terminal", command: "test -t 0 && test -t 1 && echo is a tty; stty size; exit 5", tty: true, stdoutContains: "is a tty\r\n", code: 5},
		{name: "terminal input", command: "read x; echo got $x", stdin: "word\n", tty: true, stdoutContains: "got word\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStream(c.stdin, !c.tty)
			ctx, cancel := context.WithTimeout(t.Context(), soon)
			defer cancel()
			raw := d.(drivers.ExecTaskStreamingRawDriver)
			require.NoError(t, raw.ExecTaskStreamingRaw(ctx, k.ID, []string{"sh", "-c", c.command}, c.tty, s))
			require.Equal(t, c.code, s.code())
			if c.stdoutContains != "" {
				require.Contains(t, s.stdout.String(), c.stdoutContains)
				return
			}
			require.Equal(t, c.stdout, s.stdout.String())
			require.Equal(t, c.stderr, s.stderr.String())
		})
	}
}

// stream is the client's end of an exec.
type stream struct {
	mu             sync.Mutex
	in             []*drivers.ExecTaskStreamingRequestMsg
	stdout, stderr bytes.Buffer
	exit           int
	exited         chan struct{}
}

func newStream(stdin string, closes bool) *stream {
	s := &stream{exit: -1, exited: make(chan struct{})}
	for chunk := range chunks(stdin, 16<<10) {
		s.in = append(s.in, &drivers.ExecTaskStreamingRequestMsg{Stdin: &proto.ExecTaskStreamingIOOperation{Data: []byte(chunk)}})
	}
	if closes {
		s.in = append(s.in, &drivers.ExecTaskStreamingRequestMsg{Stdin: &proto.ExecTaskStreamingIOOperation{Close: true}})
	}
	return s
}

func chunks(s string, size int) func(func(string) bool) {
	return func(yield func(string) bool) {
		for len(s) > 0 {
			n := min(size, len(s))
			if !yield(s[:n]) {
				return
			}
			s = s[n:]
		}
	}
}

func (s *stream) Recv() (*drivers.ExecTaskStreamingRequestMsg, error) {
	s.mu.Lock()
	if len(s.in) > 0 {
		m := s.in[0]
		s.in = s.in[1:]
		s.mu.Unlock()
		return m, nil
	}
	s.mu.Unlock()
	<-s.exited // a user who types no more, but stays
	return nil, io.EOF
}

func (s *stream) Send(m *drivers.ExecTaskStreamingResponseMsg) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Stdout != nil {
		s.stdout.Write(m.Stdout.Data)
	}
	if m.Stderr != nil {
		s.stderr.Write(m.Stderr.Data)
	}
	if m.Exited {
		s.exit = int(m.Result.ExitCode)
		close(s.exited)
	}
	return nil
}

func (s *stream) code() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exit
}
