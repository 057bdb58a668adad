package socket

import (
	"io"
	"net"
	"os"
	"syscall"
	"unsafe"
)

// Conn is a TCP connection; see the package. What it does not do itself, and
// deadlines and closing, are net's.
type Conn struct {
	*net.TCPConn
	raw syscall.RawConn

	// One transfer each way, and the functions that carry it out, made once so
	// that a transfer costs no garbage.
	in, out     transfer
	parts       []syscall.Iovec // what is left of a write of several pieces
	pieces      net.Buffers     // the same, where net writes them
	vector      net.Buffers
	read, write func(fd uintptr) bool
	writev      func(fd uintptr) bool
	peek        func(fd uintptr)
	there       bool // a byte to be read, as peek found
	glance      [1]byte
}

// transfer is a read or a write under way.
type transfer struct {
	p    []byte
	done int
	err  syscall.Errno
}

// longest is how much is sent by a call that the scheduler is not told of:
// copying more keeps a thread longer than garbage collection should wait.
const longest = 64 << 10

// New is a connection that takes over the other's reading and writing.
func New(tcp *net.TCPConn) (*Conn, error) {
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &Conn{TCPConn: tcp, raw: raw}
	c.read = func(fd uintptr) bool { return c.in.once(syscall.SYS_READ, fd) }
	c.write = func(fd uintptr) bool {
		for c.out.once(syscall.SYS_WRITE, fd) {
			if c.out.err != 0 || len(c.out.p) == 0 {
				return true
			}
		}
		return false
	}
	c.writev = func(fd uintptr) bool {
		for len(c.parts) > 0 {
			n, _, err := syscall.RawSyscall(syscall.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&c.parts[0])), uintptr(len(c.parts)))
			switch err {
			case syscall.EINTR:
			case syscall.EAGAIN:
				return false
			case 0:
				c.wrote(int(n))
			default:
				c.out.err = err
				return true
			}
		}
		return true
	}
	c.peek = func(fd uintptr) {
		n, _, err := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&c.glance[0])), 1,
			syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
		c.there, c.in.err = n > 0, err
	}
	return c, nil
}

// once makes one call; false if it would have to wait.
func (t *transfer) once(trap, fd uintptr) bool {
	for {
		n, _, err := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(&t.p[0])), uintptr(len(t.p)))
		switch err {
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		case 0:
			t.done += int(n)
			t.p = t.p[n:]
			return true
		default:
			t.err = err
			return true
		}
	}
}

// end is what became of the transfer; waited is the error of waiting.
func (t *transfer) end(op string, waited error) (int, error) {
	n, err := t.done, waited
	if t.err != 0 {
		err = &net.OpError{Op: op, Net: "tcp", Err: os.NewSyscallError(op, t.err)}
	}
	*t = transfer{}
	return n, err
}

// Read is io.Reader's.
func (c *Conn) Read(p []byte) (int, error) {
	if watched || len(p) == 0 {
		return c.TCPConn.Read(p)
	}
	c.in.p = p[:min(len(p), longest)]
	n, err := c.in.end("read", c.raw.Read(c.read))
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

// Quiet reports whether the connection is open, and silent: nothing has come
// that was not read. It does not wait, nor mind deadlines. Nobody may be reading.
func (c *Conn) Quiet() (open, silent bool) {
	if c.raw.Control(c.peek) != nil {
		return false, false
	}
	err := c.in.err
	c.in.err = 0
	silent = err == syscall.EAGAIN
	return silent || err == 0 && c.there, silent
}

// WriteParts writes several pieces as one. It keeps none of them.
func (c *Conn) WriteParts(parts ...[]byte) (int64, error) {
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	if watched || size == 0 || size > longest || len(parts) > maxParts {
		c.pieces = append(c.pieces[:0], parts...)
		defer clear(c.pieces)
		c.vector = c.pieces // which writing uses up
		return c.vector.WriteTo(c.TCPConn)
	}
	room := c.parts[:0]
	for _, p := range parts {
		if len(p) > 0 {
			room = append(room, syscall.Iovec{Base: &p[0], Len: uint64(len(p))})
		}
	}
	c.parts = room
	n, err := c.out.end("write", c.raw.Write(c.writev))
	clear(room)
	c.parts = room[:0]
	return int64(n), err
}

// maxParts is far below the system's limit of 1024.
const maxParts = 256

// wrote takes what was written off c.parts.
func (c *Conn) wrote(n int) {
	c.out.done += n
	for n > 0 {
		first := &c.parts[0]
		if m := int(first.Len); n >= m {
			n -= m
			c.parts = c.parts[1:]
			continue
		}
		first.Base = (*byte)(unsafe.Add(unsafe.Pointer(first.Base), n))
		first.Len -= uint64(n)
		n = 0
	}
}

// Write is io.Writer's.
func (c *Conn) Write(p []byte) (int, error) {
	if watched || len(p) == 0 || len(p) > longest {
		return c.TCPConn.Write(p)
	}
	c.out.p = p
	return c.out.end("write", c.raw.Write(c.write))
}
