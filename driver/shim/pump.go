package shim

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

const (
	chunkSize = 16 << 10
	retryOpen = 200 * time.Millisecond
	writeTurn = 500 * time.Millisecond
)

// pump carries one of the engine's streams to Nomad's fifo. An engine that
// blocks in write(2) because nobody collects its log serves nobody, so the
// pump always reads, and drops what the fifo does not take: when the agent is
// down for long, it loses log, not service.
type pump struct {
	path    string
	tail    *tail
	lines   splitter
	backlog *backlog
	ended   chan struct{} // closed when the engine's end is closed
	written chan struct{} // closed when the writer is through
}

// startPump returns the end that the engine writes to.
func startPump(path string, t *tail, n *notes) (*pump, *os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("open log pipe: %w", err)
	}
	p := &pump{
		path: path, tail: t, lines: splitter{notes: n},
		backlog: newBacklog(),
		ended:   make(chan struct{}), written: make(chan struct{}),
	}
	go p.read(r)
	go p.write()
	return p, w, nil
}

func (p *pump) read(r *os.File) {
	defer r.Close()
	defer close(p.ended)
	defer p.backlog.close()
	buf := make([]byte, chunkSize)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			p.tail.add(buf[:n])
			p.lines.add(buf[:n])
			p.backlog.add(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

func (p *pump) write() {
	defer close(p.written)
	var out *os.File
	defer func() {
		if out == nil {
			// Nomad's log collector waits for the first writer of its fifo, and
			// at the end, for seconds, for one that never came.
			out, _ = openLog(p.path)
		}
		if out != nil {
			out.Close()
		}
	}()
	for {
		b, ok := p.backlog.take()
		if !ok {
			return
		}
		if rest, ok := p.put(&out, b); !ok {
			p.backlog.abandon(len(rest))
		}
	}
}

// put writes b, however long the reader takes. It gives up once the engine
// has ended and the reader takes nothing any more.
func (p *pump) put(out **os.File, b []byte) (rest []byte, ok bool) {
	if *out != nil && p.replaced(*out) {
		(*out).Close()
		*out = nil
	}
	for len(b) > 0 {
		if *out == nil {
			f, err := openLog(p.path)
			if err != nil {
				select {
				case <-p.ended:
					return b, false
				case <-time.After(retryOpen):
					continue
				}
			}
			*out = f
		}
		_ = (*out).SetWriteDeadline(time.Now().Add(writeTurn)) // a plain file has none and needs none
		n, err := (*out).Write(b)
		b = b[n:]
		switch {
		case err == nil:
		case errors.Is(err, os.ErrDeadlineExceeded) && !p.replaced(*out):
			select {
			case <-p.ended:
				if n == 0 {
					return b, false
				}
			default:
			}
		default: // replaced or broken: start again with the new one
			(*out).Close()
			*out = nil
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				select {
				case <-p.ended:
					return b, false
				case <-time.After(retryOpen):
				}
			}
		}
	}
	return nil, true
}

// replaced reports whether the path leads to another file than the open one by
// now: Nomad makes the fifo anew when it has lost it, and reads that one.
func (p *pump) replaced(f *os.File) bool {
	opened, err := f.Stat()
	if err != nil {
		return true
	}
	named, err := os.Stat(p.path)
	return err == nil && !os.SameFile(opened, named)
}

// openLog opens a fifo for reading too: then the open never waits for a
// reader, and a reader that comes and goes costs neither SIGPIPE nor what is
// already in the pipe.
func openLog(path string) (*os.File, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	flags := os.O_WRONLY | os.O_APPEND
	if st.Mode()&os.ModeNamedPipe != 0 {
		flags = os.O_RDWR | unix.O_NONBLOCK
	}
	return os.OpenFile(path, flags, 0)
}
