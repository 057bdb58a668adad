package shim

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Client speaks to the shim of one task; it holds nothing open between calls.
type Client struct {
	// Dir is the task's directory, Spec.Dir.
	Dir string
}

const dialTimeout = 5 * time.Second

// dial connects by way of a descriptor of the directory, because a socket
// address holds only 107 bytes of path.
func (c Client) dial(ctx context.Context) (*net.UnixConn, error) {
	fd, err := unix.Open(c.Dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open task directory %s: %w", c.Dir, err)
	}
	defer unix.Close(fd)
	d := net.Dialer{Timeout: dialTimeout}
	conn, err := d.DialContext(ctx, "unix", filepath.Join("/proc/self/fd", strconv.Itoa(fd), socketFile))
	if err != nil {
		return nil, fmt.Errorf("reach the supervisor in %s: %w", c.Dir, err)
	}
	return conn.(*net.UnixConn), nil
}

// call sends one request and reads one response, waiting as long as ctx does.
func (c Client) call(ctx context.Context, req request) (response, error) {
	s, err := c.open(ctx, req)
	if err != nil {
		return response{}, err
	}
	defer s.close()
	return s.next()
}

// exchange is one open connection.
type exchange struct {
	conn *net.UnixConn
	in   *bufio.Reader
	stop func() bool
	ctx  context.Context
}

func (c Client) open(ctx context.Context, req request, files ...*os.File) (*exchange, error) {
	conn, err := c.dial(ctx)
	if err != nil {
		return nil, err
	}
	line, err := json.Marshal(req)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("encode request: %w", err)
	}
	var fds []int
	for _, f := range files {
		fds = append(fds, int(f.Fd()))
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	line = append(line, '\n')
	n, _, err := conn.WriteMsgUnix(line, oob, nil)
	if err == nil && n < len(line) {
		_, err = conn.Write(line[n:])
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("send %s to the supervisor: %w", req.Op, err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	return &exchange{conn: conn, in: bufio.NewReader(conn), stop: stop, ctx: ctx}, nil
}

func (x *exchange) close() {
	x.stop()
	x.conn.Close()
}

func (x *exchange) next() (response, error) {
	line, err := x.in.ReadBytes('\n')
	if err != nil {
		if x.ctx.Err() != nil {
			return response{}, context.Cause(x.ctx)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			err = errNoSession
		}
		return response{}, fmt.Errorf("read the supervisor's answer: %w", err)
	}
	var r response
	if err := json.Unmarshal(line, &r); err != nil {
		return response{}, fmt.Errorf("read the supervisor's answer: %w", err)
	}
	if r.Ended {
		return r, ErrEnded
	}
	if r.Error != "" {
		return r, &Refused{Reason: r.Error}
	}
	return r, nil
}

// Refused is the shim's own answer that it could not do what was asked: the
// shim is there, and asking again changes nothing.
type Refused struct{ Reason string }

func (r *Refused) Error() string { return r.Reason }

// Status says which processes the task is made of.
func (c Client) Status(ctx context.Context) (Started, error) {
	r, err := c.call(ctx, request{Op: opStatus})
	if err != nil {
		return Started{}, err
	}
	if r.Started == nil {
		return Started{}, errNoSession
	}
	return *r.Started, nil
}

// Wait returns the record of the task when it has ended.
func (c Client) Wait(ctx context.Context) (Record, error) {
	r, err := c.call(ctx, request{Op: opWait})
	if err != nil {
		return Record{}, err
	}
	if r.Record == nil {
		return Record{}, errNoSession
	}
	return *r.Record, nil
}

// Notes returns what the engine's log tells behind note number after, as soon
// as there is anything. None: the task has ended. With after 0 it goes on from
// where the last caller stopped.
func (c Client) Notes(ctx context.Context, after int) ([]Note, error) {
	r, err := c.call(ctx, request{Op: opNotes, After: after})
	return r.Notes, err
}

// Signal sends a signal to the engine's whole process group.
func (c Client) Signal(ctx context.Context, sig syscall.Signal) error {
	_, err := c.call(ctx, request{Op: opSignal, Signal: int(sig)})
	return err
}

// Stop sends sig to the engine's process group and has the shim kill whatever
// is left of the task after grace. It returns at once; the shim sees to the
// rest even if the caller dies.
func (c Client) Stop(ctx context.Context, sig syscall.Signal, grace time.Duration) error {
	_, err := c.call(ctx, request{Op: opStop, Signal: int(sig), Grace: grace})
	return err
}

// Exec runs a command beside the engine with the given standard streams,
// which it leaves open, and returns when the command has ended. When ctx ends
// first, the command is killed. With tty, stdin must be a terminal; it becomes
// the command's controlling one.
func (c Client) Exec(ctx context.Context, argv []string, tty bool, stdin, stdout, stderr *os.File, started func()) (Exit, error) {
	x, err := c.open(ctx, request{Op: opExec, Argv: argv, TTY: tty}, stdin, stdout, stderr)
	if err != nil {
		return Exit{}, err
	}
	defer x.close()
	if _, err := x.next(); err != nil {
		return Exit{}, err
	}
	started()
	r, err := x.next()
	if err != nil {
		return Exit{}, err
	}
	if r.Exit == nil {
		return Exit{}, errNoSession
	}
	return *r.Exit, nil
}
