package engine

import (
	"fmt"
	"net"
	"strconv"

	"github.com/nomad-vllm/nomad-vllm/bench/router/http1"
)

// role is what a listener plays.
type role int

const (
	prefill role = iota
	decode
	plain // a decode that takes requests without a handoff, for a proxy to one leg
)

// instance is one engine: a listener and its name.
type instance struct {
	role     role
	id       string
	port     int
	listener net.Listener
	*bench
}

func (b *bench) listen(r role, id string) (*instance, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for %s: %w", id, err)
	}
	return &instance{role: r, id: id, port: l.Addr().(*net.TCPAddr).Port, listener: l, bench: b}, nil
}

func (i *instance) accept() {
	for {
		c, err := i.listener.Accept()
		if err != nil {
			return
		}
		go i.serve(http1.New(c))
	}
}

// serve answers one connection's requests, one after the other.
func (i *instance) serve(c *http1.Conn) {
	defer c.Close()
	w := &writer{conn: c}
	for {
		head, err := c.ReadHead()
		if err != nil {
			return
		}
		// The line and headers move when the body is read.
		line := string(head.Line())
		h := headers{orca: head.Get("endpoint-load-metrics-format") != nil, id: string(head.Get("x-request-id"))}
		body, err := c.Body(head)
		if err != nil {
			return
		}
		if err := i.answer(w, line, h, body); err != nil {
			return
		}
	}
}

// headers is what an engine minds of a request's.
type headers struct {
	orca bool   // the client wants the load header
	id   string // X-Request-Id
}

func (i *instance) answer(w *writer, line string, h headers, body []byte) error {
	switch line {
	case "POST /v1/chat/completions HTTP/1.1":
		return i.generate(w, h, body)
	case "GET /health HTTP/1.1":
		return w.whole(200, "text/plain", false, nil)
	case "GET /v1/models HTTP/1.1":
		return w.whole(200, "application/json", false, []byte(models))
	case "GET /metrics HTTP/1.1":
		return w.whole(200, "text/plain; version=0.0.4", false, nil)
	}
	return w.whole(404, "application/json", false, []byte(`{"detail":"Not Found"}`))
}

func (i *instance) generate(w *writer, h headers, body []byte) error {
	q, err := i.read(body)
	if err == nil && i.role == prefill {
		if err = q.isLeg1(); err == nil {
			i.legs[prefill].Add(1)
			return w.whole(200, "application/json", h.orca, i.handoff(w.scratch[:0], h.id, len(body)))
		}
	} else if err == nil {
		if err = i.isLeg2(q); err == nil {
			i.legs[i.role].Add(1)
			return i.finish(w, q, h.orca)
		}
	}
	i.wrong("%s: %v", i.id, err)
	return w.whole(400, "application/json", false, []byte(`{"error":{"message":"`+strconv.Quote(err.Error())[1:]+`,"type":"BadRequestError","param":null,"code":400}}`))
}
