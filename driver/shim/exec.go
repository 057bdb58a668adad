package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// exec runs a command beside the engine: same user, environment and
// directory, with the three files that came along as its standard streams. It
// ends with the connection, or by itself; either way nothing of it stays.
func (s *supervisor) exec(conn *net.UnixConn, req request, files []*os.File) {
	enc := json.NewEncoder(conn)
	c, err := s.startExec(req, files)
	closeAll(files) // so that their readers see the command's end
	if err != nil {
		_ = enc.Encode(response{Error: err.Error(), Ended: errors.Is(err, ErrEnded)})
		return
	}
	if err := enc.Encode(response{}); err != nil {
		s.endExec(c)
		return
	}
	select {
	case ws := <-c.exited:
		s.endExec(c)
		_ = enc.Encode(response{Exit: exitOf(ws)})
	case <-gone(conn):
		s.endExec(c)
	}
}

func (s *supervisor) startExec(req request, files []*os.File) (*child, error) {
	if len(req.Argv) == 0 || len(files) != maxRequestFiles {
		return nil, fmt.Errorf("exec %q with %d files: want a command and %d files", req.Argv, len(files), maxRequestFiles)
	}
	path, err := LookPath(req.Argv[0], s.spec.Env, s.spec.WorkDir)
	if err != nil {
		return nil, err
	}
	return s.reaper.spawn(path, req.Argv, s.attr([]uintptr{files[0].Fd(), files[1].Fd(), files[2].Fd()}, req.TTY))
}

// endExec kills what is left of the command's session.
func (s *supervisor) endExec(c *child) {
	all, err := Processes()
	if err != nil {
		return
	}
	for _, p := range Descendants(all, os.Getpid()) {
		if p.Session == c.PID {
			_ = p.Signal(unix.SIGKILL)
		}
	}
}

// exitOf reads a wait status as a shell does.
func exitOf(ws syscall.WaitStatus) *Exit {
	if ws.Signaled() {
		return &Exit{Code: 128 + int(ws.Signal()), Signal: int(ws.Signal())}
	}
	return &Exit{Code: ws.ExitStatus()}
}

// errNoSession is what a client sees when the shim hung up without an answer.
var errNoSession = errors.New("the task's supervisor hung up")
