package driver_test

import (
	"strings"
	"testing"

	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/hashicorp/nomad/plugins/drivers/proto"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver"
)

// typist is a user at a terminal: he sends what the test tells him to.
type typist struct {
	*stream
	messages chan *drivers.ExecTaskStreamingRequestMsg
}

func newTypist() *typist {
	return &typist{stream: newStream("", false), messages: make(chan *drivers.ExecTaskStreamingRequestMsg, 8)}
}

func (u *typist) Recv() (*drivers.ExecTaskStreamingRequestMsg, error) {
	select {
	case m := <-u.messages:
		return m, nil
	case <-u.exited:
		return u.stream.Recv()
	}
}

func (u *typist) types(text string) {
	u.messages <- &drivers.ExecTaskStreamingRequestMsg{Stdin: &proto.ExecTaskStreamingIOOperation{Data: []byte(text)}}
}

func (u *typist) resizes(rows, columns int32) {
	u.messages <- &drivers.ExecTaskStreamingRequestMsg{TtySize: &proto.ExecTaskStreamingRequest_TerminalSize{Height: rows, Width: columns}}
}

func (u *typist) sees(t *testing.T, text string) {
	t.Helper()
	require.Eventually(t, func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		return strings.Contains(u.stdout.String(), text)
	}, soon, often, "never saw %q", text)
}

// terminal runs a shell command at a terminal of a running task.
func terminal(t *testing.T, command string) (*typist, <-chan error) {
	t.Helper()
	d := newDriver(t, driver.Config{})
	k := newTask(t, "serve")
	k.start(d)
	u := newTypist()
	ended := make(chan error, 1)
	go func() {
		ended <- d.(drivers.ExecTaskStreamingRawDriver).ExecTaskStreamingRaw(t.Context(), k.ID, []string{"sh", "-c", command}, true, u)
	}()
	return u, ended
}

func TestExec_terminalFollowsTheWindow(t *testing.T) {
	u, ended := terminal(t, `trap 'stty size' WINCH; echo up; while :; do sleep 0.02; done`)
	u.sees(t, "up")
	u.resizes(33, 77)
	u.sees(t, "33 77")
	u.resizes(44, 88)
	u.sees(t, "44 88")
	u.types("\x03")
	require.NoError(t, <-ended)
}

func TestExec_ctrlCInterruptsTheCommandOnly(t *testing.T) {
	u, ended := terminal(t, `trap 'echo caught; exit 42' INT; echo up; while :; do sleep 0.02; done`)
	u.sees(t, "up")
	u.types("\x03")
	require.NoError(t, <-ended)
	require.Equal(t, 42, u.code())
	u.sees(t, "caught")
}

func TestExec_ctrlDEndsTheInput(t *testing.T) {
	u, ended := terminal(t, `cat; echo end of input`)
	u.types("a line\n")
	u.sees(t, "a line\r\na line\r\n") // the terminal's echo, and cat's
	u.types("\x04")
	u.sees(t, "end of input")
	require.NoError(t, <-ended)
}

// Output that ends with the command is all there, as a terminal's too.
func TestExec_losesNoOutput(t *testing.T) {
	const lines = 1 << 14 // of 64 bytes: 1 MiB
	command := `awk 'BEGIN { for (i = 0; i < 16384; i++) printf "%063d\n", i }'`
	for name, tty := range map[string]bool{"pipe": false, "terminal": true} {
		t.Run(name, func(t *testing.T) {
			d := newDriver(t, driver.Config{})
			k := newTask(t, "serve")
			k.start(d)
			s := newStream("", !tty)
			require.NoError(t, d.(drivers.ExecTaskStreamingRawDriver).ExecTaskStreamingRaw(t.Context(), k.ID, []string{"sh", "-c", command}, tty, s))
			require.Equal(t, 0, s.code())
			out := strings.ReplaceAll(s.stdout.String(), "\r\n", "\n")
			require.Equal(t, 64*lines, len(out))
			require.True(t, strings.HasSuffix(out, "16383\n"))
		})
	}
}
