package http1

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
)

// Conn reads messages from a connection. What it returns stays valid until
// the next message is read.
type Conn struct {
	net.Conn
	buf  []byte
	r, w int // buf[r:w] is read and not yet consumed
}

// New wraps a connection; the buffer starts small, because there may be tens
// of thousands, and grows to the largest message.
func New(c net.Conn) *Conn { return &Conn{Conn: c, buf: make([]byte, 4<<10)} }

// Head is a message's first line and headers, as they came.
type Head struct {
	raw []byte // up to and with the empty line
	// Length is the body's length, -1 for chunked.
	Length int
}

// maxHead bounds a head: nothing here sends more.
const maxHead = 64 << 10

// ReadHead reads up to the empty line. io.EOF means that the peer closed
// between two messages.
func (c *Conn) ReadHead() (Head, error) {
	c.compact()
	for from := 0; ; {
		if i := bytes.Index(c.buf[c.r+from:c.w], []byte("\r\n\r\n")); i >= 0 {
			h := Head{raw: c.buf[c.r : c.r+from+i+4]}
			c.r += len(h.raw)
			return h, h.measure()
		}
		if c.w-c.r > maxHead {
			return Head{}, errors.New("read head: longer than 64 KiB")
		}
		from = max(0, c.w-c.r-3)
		if err := c.fill(); err != nil {
			if c.w > c.r && errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return Head{}, err
		}
	}
}

// compact makes room by forgetting what was consumed.
func (c *Conn) compact() {
	c.w = copy(c.buf, c.buf[c.r:c.w])
	c.r = 0
}

// fill reads once, growing the buffer if it is full.
func (c *Conn) fill() error {
	if c.w == len(c.buf) {
		c.buf = append(c.buf, make([]byte, len(c.buf))...)
	}
	n, err := c.Conn.Read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	return err
}

func (h *Head) measure() error {
	if v := h.Get("content-length"); v != nil {
		n, err := strconv.Atoi(string(v))
		if err != nil || n < 0 {
			return fmt.Errorf("read head: content-length %q", v)
		}
		h.Length = n
		return nil
	}
	if bytes.EqualFold(h.Get("transfer-encoding"), []byte("chunked")) {
		h.Length = -1
	}
	return nil
}

// Line is the first line.
func (h Head) Line() []byte {
	line, _, _ := bytes.Cut(h.raw, []byte("\r\n"))
	return line
}

// Status is the status code of a response, 0 if it has none.
func (h Head) Status() int {
	line := h.Line()
	if len(line) < 12 {
		return 0
	}
	n, _ := strconv.Atoi(string(line[9:12]))
	return n
}

// Get is a header's first value, nil if it is absent. name is in lower case.
func (h Head) Get(name string) []byte {
	rest := h.raw
	for {
		i := bytes.IndexByte(rest, '\n')
		if i < 0 || i+1 >= len(rest) {
			return nil
		}
		rest = rest[i+1:]
		if len(rest) > len(name) && rest[len(name)] == ':' && bytes.EqualFold(rest[:len(name)], []byte(name)) {
			value, _, _ := bytes.Cut(rest[len(name)+1:], []byte("\r\n"))
			return bytes.TrimSpace(value)
		}
	}
}

// Body reads the whole body.
func (c *Conn) Body(h Head) ([]byte, error) {
	if h.Length < 0 {
		var all []byte
		err := c.Chunks(func(b []byte) error { all = append(all, b...); return nil })
		return all, err
	}
	// The head's bytes must not move, so the buffer grows by a copy.
	if need := c.r + h.Length; need > len(c.buf) {
		grown := make([]byte, need+need/8)
		copy(grown[c.r:], c.buf[c.r:c.w])
		c.buf = grown
	}
	for c.w-c.r < h.Length {
		if err := c.fill(); err != nil {
			return nil, cut(err)
		}
	}
	body := c.buf[c.r : c.r+h.Length]
	c.r += h.Length
	return body, nil
}

// Chunks reads a chunked body and passes on each piece as it comes.
func (c *Conn) Chunks(piece func([]byte) error) error {
	var d Dechunker
	for {
		used, err := d.Feed(c.buf[c.r:c.w], piece)
		c.r += used
		if err != nil || d.Done() {
			return err
		}
		c.compact()
		if err := c.fill(); err != nil {
			return cut(err)
		}
	}
}

// cut says that an end came in the middle of a message.
func cut(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
