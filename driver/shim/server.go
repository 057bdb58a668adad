package shim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// listen opens the socket. Its path may be longer than the 107 bytes that a
// socket address holds, so it is named relative to the task's directory,
// which is the shim's own from here on.
func (s *supervisor) listen() error {
	if err := os.Chdir(s.spec.Dir); err != nil {
		return fmt.Errorf("enter task directory: %w", err)
	}
	_ = os.Remove(socketFile) // of a shim that was killed
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socketFile, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen in %s: %w", s.spec.Dir, err)
	}
	l.SetUnlinkOnClose(false)
	s.listener = l
	if err := os.Chmod(filepath.Join(s.spec.Dir, socketFile), 0o600); err != nil {
		return fmt.Errorf("protect socket: %w", err)
	}
	return nil
}

// connections counts the open ones, so that the shim can wait for the last.
type connections struct {
	wg sync.WaitGroup
}

// wait returns when all are closed or the limit has passed.
func (c *connections) wait(limit time.Duration) {
	done := make(chan struct{})
	go func() { c.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(limit):
	}
}

func (s *supervisor) serve() {
	for {
		conn, err := s.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // out of descriptors, say: better late than never
			time.Sleep(50 * time.Millisecond)
			continue
		}
		s.open.wg.Go(func() {
			defer conn.Close()
			s.answer(conn)
		})
	}
}

const (
	requestLimit     = 1 << 20
	requestTimeout   = 10 * time.Second
	maxRequestFiles  = 3
	requestOOBBuffer = 256
)

func (s *supervisor) answer(conn *net.UnixConn) {
	_ = conn.SetReadDeadline(time.Now().Add(requestTimeout))
	req, files, err := readRequest(conn)
	defer closeAll(files)
	enc := json.NewEncoder(conn)
	if err != nil {
		_ = enc.Encode(response{Error: err.Error()})
		return
	}
	_ = conn.SetReadDeadline(time.Time{})
	switch req.Op {
	case opStatus:
		_ = enc.Encode(response{Started: &s.started})
	case opWait:
		select {
		case <-s.ended:
			_ = enc.Encode(response{Record: &s.record})
		case <-gone(conn):
		}
	case opNotes:
		s.tellNotes(conn, enc, req.After)
	case opSignal:
		_ = enc.Encode(failure(s.task.signalGroup(syscall.Signal(req.Signal))))
	case opStop:
		_ = enc.Encode(failure(s.stop(syscall.Signal(req.Signal), req.Grace)))
	case opExec:
		s.exec(conn, req, files)
	default:
		_ = enc.Encode(response{Error: fmt.Sprintf("unknown request %q", req.Op)})
	}
}

// tellNotes answers with what is new, now or when there is something.
func (s *supervisor) tellNotes(conn *net.UnixConn, enc *json.Encoder, after int) {
	left := gone(conn)
	for {
		list, more := s.notes.after(after)
		if len(list) > 0 {
			_ = enc.Encode(response{Notes: list})
			return
		}
		select {
		case <-more:
		case <-s.ended:
			// The log is read to its end by now: what there is, is all.
			list, _ = s.notes.after(after)
			_ = enc.Encode(response{Notes: list})
			return
		case <-left:
			return
		}
	}
}

func failure(err error) response {
	if err != nil {
		return response{Error: err.Error()}
	}
	return response{}
}

// gone is closed when the other end has hung up. Nobody sends more than one
// request, so whatever Read returns means that.
func gone(conn *net.UnixConn) <-chan struct{} {
	ch := make(chan struct{})
	go func() {
		defer close(ch)
		_, _ = conn.Read(make([]byte, 1))
	}()
	return ch
}

// readRequest reads one line and the files that came with its first byte.
func readRequest(conn *net.UnixConn) (request, []*os.File, error) {
	var line []byte
	var files []*os.File
	buf, oob := make([]byte, chunkSize), make([]byte, requestOOBBuffer)
	for !bytes.HasSuffix(line, []byte("\n")) {
		n, oobn, _, _, err := conn.ReadMsgUnix(buf, oob)
		if oobn > 0 {
			files = append(files, parseFiles(oob[:oobn])...)
		}
		if err != nil {
			return request{}, files, fmt.Errorf("read request: %w", err)
		}
		if line = append(line, buf[:n]...); len(line) > requestLimit {
			return request{}, files, fmt.Errorf("read request: longer than %d bytes", requestLimit)
		}
	}
	var req request
	if err := json.Unmarshal(line, &req); err != nil {
		return request{}, files, fmt.Errorf("read request: %w", err)
	}
	return req, files, nil
}

func parseFiles(oob []byte) []*os.File {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	var files []*os.File
	for _, m := range msgs {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return files
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}
