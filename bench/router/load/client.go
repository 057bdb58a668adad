package load

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/nomad-vllm/nomad-vllm/bench/router/http1"
)

func replace(b []byte, old, with string) []byte {
	return bytes.Replace(bytes.Clone(b), []byte(old), []byte(with), 1)
}

// client is one connection to the target; for a client of both legs, two.
type client struct {
	*messages
	conn    *http1.Conn
	prefill *http1.Conn
	buf     []byte
	stream  stream
}

// patience is how long a connection may be silent before it counts as hung.
const patience = 60 * time.Second

func (m *messages) dial() (*client, error) {
	c := &client{messages: m}
	conn, err := net.Dial("tcp", m.target.Addr)
	if err != nil {
		return nil, err
	}
	c.conn = http1.New(conn)
	if m.target.Prefill != "" {
		conn, err := net.Dial("tcp", m.target.Prefill)
		if err != nil {
			c.conn.Close()
			return nil, err
		}
		c.prefill = http1.New(conn)
	}
	return c, nil
}

func (c *client) close() {
	c.conn.Close()
	if c.prefill != nil {
		c.prefill.Close()
	}
}

// once makes one request and reads its whole answer.
func (c *client) once(variant int) error {
	if err := c.send(variant); err != nil {
		return err
	}
	return c.receive()
}

func (c *client) send(variant int) error {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if c.prefill == nil {
		_, err := c.conn.Write(c.plain[variant])
		return err
	}
	params, err := c.handoff(variant)
	if err != nil {
		return fmt.Errorf("leg 1: %w", err)
	}
	body := c.leg2[variant]
	const key = `,"kv_transfer_params":`
	c.buf = append(c.buf[:0], head(c.target.Addr, "", len(body)+len(key)+len(params)+1)...)
	c.buf = append(append(append(append(c.buf, body...), key...), params...), '}')
	_, err = c.conn.Write(c.buf)
	return err
}

// handoff makes leg 1 and returns its params.
func (c *client) handoff(variant int) ([]byte, error) {
	if err := c.prefill.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	if _, err := c.prefill.Write(c.leg1[variant]); err != nil {
		return nil, err
	}
	h, err := c.prefill.ReadHead()
	if err != nil {
		return nil, err
	}
	status := h.Status()
	body, err := c.prefill.Body(h)
	if err != nil {
		return nil, err
	}
	if status != 200 {
		return nil, fmt.Errorf("status %d: %.200s", status, body)
	}
	var params []byte
	err = http1.Members(body, func(key, value []byte) {
		if string(key) == "kv_transfer_params" {
			params = value
		}
	})
	return params, err
}

func (c *client) receive() error {
	h, err := c.conn.ReadHead()
	if err != nil {
		return err
	}
	status := h.Status()
	if status == 200 && c.answer.Stream() {
		if h.Length >= 0 {
			return errors.New("the stream came with a length")
		}
		return c.receiveStream()
	}
	body, err := c.conn.Body(h)
	switch {
	case err != nil:
		return err
	case status != 200:
		return fmt.Errorf("status %d: %.200s", status, body)
	case !bytes.Contains(body, []byte(`"content":"done"`)):
		return fmt.Errorf("not the decode's answer: %.200s", body)
	}
	return nil
}

func (c *client) receiveStream() error {
	c.stream.start()
	err := c.conn.Chunks(func(piece []byte) error {
		c.stream.now = time.Now().UnixNano()
		return c.stream.take(piece)
	})
	if err != nil {
		return err
	}
	return c.stream.complete(c.answer)
}
