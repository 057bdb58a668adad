package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nomad-vllm/nomad-vllm/bench/router/http1"
	"github.com/nomad-vllm/nomad-vllm/bench/router/traffic"
)

// opening is how many streams may be asked for and not yet held by an engine:
// all at once would measure the router's queues.
const opening = 100

// Hall is what Streams needs of the engines.
type Hall interface {
	// Held is how many streams they hold.
	Held() (int, error)
	// Release lets the streams speak.
	Release() error
}

// Streams opens as many streams as the cell has connections, waits until the
// engines hold all of them, calls ready with their number, lets them speak and
// reads them to the end.
//
// One goroutine reads all streams by epoll: one for each, at a hundred
// thousand tokens a second, would take the time that the router needs.
func Streams(ctx context.Context, t Target, cell traffic.Cell, hall Hall, ready func(held int)) (Result, error) {
	s, err := newStreams(cell)
	if err != nil {
		return Result{}, err
	}
	defer s.close()
	begin := time.Now()
	m := newMessages(t, cell)
	held, lost := 0, 0
	for n := range cell.Conns {
		if n-lost-held >= opening {
			want := n - lost - opening/2
			if held, err = waitHeld(ctx, hall, want); err != nil {
				return Result{}, err
			}
			lost += max(0, want-held) // the router has dropped them
		}
		if err := s.open(m, n%traffic.Variants); err != nil {
			s.all.fail(fmt.Errorf("open: %w", err))
		}
	}
	if held, err = waitHeld(ctx, hall, cell.Conns-lost); err != nil {
		return Result{}, err
	}
	ready(held)
	if err := hall.Release(); err != nil {
		return Result{}, err
	}
	err = s.readAll(ctx)
	s.all.Elapsed = time.Since(begin)
	slices.Sort(s.all.Delays)
	return s.all, err
}

// waitHeld waits until the engines hold n streams, or no more come for a while:
// a router may have dropped some.
func waitHeld(ctx context.Context, hall Hall, n int) (int, error) {
	most, since := 0, time.Now()
	for {
		held, err := hall.Held()
		if err != nil || held >= n || time.Since(since) > 5*time.Second {
			return held, err
		}
		if held > most {
			most, since = held, time.Now()
		}
		select {
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (r *Result) fail(err error) {
	if r.Failed++; r.First == nil {
		r.First = err
	}
}

// streams is all open streams, by descriptor.
type streams struct {
	answer traffic.Answer
	epoll  int
	reads  map[int32]*reading
	piece  []byte
	all    Result
}

// reading is one stream that is being read.
type reading struct {
	conn   *net.TCPConn
	raw    []byte // the head, until it is whole
	headed bool
	chunks http1.Dechunker
	events stream
}

func newStreams(cell traffic.Cell) (*streams, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	return &streams{answer: cell.Answer, epoll: epoll, reads: map[int32]*reading{}, piece: make([]byte, 64<<10)}, nil
}

func (s *streams) close() {
	for _, r := range s.reads {
		r.conn.Close()
	}
	unix.Close(s.epoll)
}

// open asks for one stream.
func (s *streams) open(m *messages, variant int) error {
	c, err := m.dial()
	if err != nil {
		return err
	}
	err = c.send(variant)
	if c.prefill != nil {
		c.prefill.Close()
	}
	if err == nil {
		err = s.watch(c.conn.Conn.(*net.TCPConn))
	}
	if err != nil {
		c.conn.Close()
	}
	return err
}

// watch adds a connection to what is read.
func (s *streams) watch(conn *net.TCPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var added error
	err = raw.Control(func(fd uintptr) {
		s.reads[int32(fd)] = &reading{conn: conn}
		added = unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, int(fd), &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	})
	return errors.Join(err, added)
}

// readAll reads until every stream has ended.
func (s *streams) readAll(ctx context.Context) error {
	events := make([]unix.EpollEvent, 512)
	for silent := time.Now(); len(s.reads) > 0; {
		n, err := unix.EpollWait(s.epoll, events, 100)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for tokens: %w", err)
		}
		now := time.Now()
		for _, e := range events[:max(n, 0)] {
			silent = now
			if ended, err := s.read(e.Fd, now); ended || err != nil {
				s.end(e.Fd, err)
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if now.Sub(silent) > patience {
			for fd := range s.reads {
				s.end(fd, errors.New("silent for a minute"))
			}
		}
	}
	return nil
}

func (s *streams) end(fd int32, err error) {
	r := s.reads[fd]
	delete(s.reads, fd)
	r.conn.Close() // epoll forgets it
	s.all.Delays = append(s.all.Delays, r.events.delays...)
	if err == nil {
		s.all.Requests++
		return
	}
	s.all.fail(err)
}

// read takes what there is of one stream.
func (s *streams) read(fd int32, now time.Time) (ended bool, err error) {
	n, err := unix.Read(int(fd), s.piece)
	if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
		return false, nil
	}
	if err == nil && n == 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return false, err
	}
	r, b := s.reads[fd], s.piece[:n]
	if !r.headed {
		r.raw = append(r.raw, b...)
		i := bytes.Index(r.raw, []byte("\r\n\r\n"))
		if i < 0 {
			return false, nil
		}
		if !bytes.HasPrefix(r.raw, []byte("HTTP/1.1 200")) {
			return false, fmt.Errorf("answered %.12s: %.300s", r.raw[9:], r.raw[i+4:])
		}
		r.headed, b = true, r.raw[i+4:]
		r.events.delays = make([]time.Duration, 0, s.answer.Tokens)
	}
	r.events.now = now.UnixNano()
	if _, err := r.chunks.Feed(b, r.events.take); err != nil || !r.chunks.Done() {
		return false, err
	}
	return true, r.events.complete(s.answer)
}
