package engine

import (
	"strconv"
	"time"

	"github.com/nomad-vllm/nomad-vllm/bench/router/http1"
)

const (
	models     = `{"object":"list","data":[{"id":"bench","object":"model","created":1,"owned_by":"vllm","root":"bench","parent":null,"max_model_len":131072}]}`
	answerHead = `{"id":"chatcmpl-1","object":"chat.completion","created":1795340779,"model":"bench",`
	// reply is a whole answer of about 200 bytes.
	reply  = answerHead + `"choices":[{"index":0,"message":{"role":"assistant","content":"done"},"finish_reason":"stop"}],"usage":{"total_tokens":20}}`
	date   = "date: Sun, 22 Nov 2026 09:46:18 GMT\r\nserver: uvicorn\r\n"
	load   = "endpoint-load-metrics: JSON {\"named_metrics\": {\"num_requests_waiting\": 0.0, \"kv_cache_usage_perc\": 0.25}}\r\n"
	event  = `data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1795340779,"model":"bench","choices":[{"index":0,"delta":{"content":"`
	ending = "\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n"
	done   = "data: [DONE]\n\n"
)

// writer sends answers on one connection.
type writer struct {
	conn    *http1.Conn
	out     []byte
	scratch []byte
}

// whole sends a message in one write.
func (w *writer) whole(status int, kind string, orca bool, body []byte) error {
	w.out = append(w.out[:0], "HTTP/1.1 "...)
	w.out = strconv.AppendInt(w.out, int64(status), 10)
	w.out = append(w.out, " \r\n"+date...)
	if orca {
		w.out = append(w.out, load...)
	}
	w.out = append(w.out, "content-type: "...)
	w.out = append(w.out, kind...)
	w.out = append(w.out, "\r\ncontent-length: "...)
	w.out = strconv.AppendInt(w.out, int64(len(body)), 10)
	w.out = append(w.out, "\r\n\r\n"...)
	w.out = append(w.out, body...)
	if kind == "application/json" && cap(body) > cap(w.scratch) {
		w.scratch = body[:0]
	}
	return w.send()
}

func (w *writer) send() error {
	_, err := w.conn.Write(w.out)
	return err
}

// chunk sends one chunk in a write of its own, as uvicorn does.
func (w *writer) chunk(parts ...string) error {
	size := 0
	for _, p := range parts {
		size += len(p)
	}
	w.out = strconv.AppendInt(w.out[:0], int64(size), 16)
	w.out = append(w.out, "\r\n"...)
	for _, p := range parts {
		w.out = append(w.out, p...)
	}
	w.out = append(w.out, "\r\n"...)
	return w.send()
}

// finish sends a decode's answer, each token with the time of its sending.
func (i *instance) finish(w *writer, q request, orca bool) error {
	a := q.tag.Answer
	if !a.Stream() {
		return w.whole(200, "application/json", orca, []byte(reply))
	}
	w.out = append(w.out[:0], "HTTP/1.1 200 OK\r\n"+date...)
	if orca {
		w.out = append(w.out, load...)
	}
	w.out = append(w.out, "content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"...)
	if err := w.send(); err != nil {
		return err
	}
	if a.Hold {
		return i.choir.join(w, a)
	}
	at := time.Now()
	for range a.Tokens {
		if a.Gap > 0 {
			time.Sleep(time.Until(at))
			at = at.Add(a.Gap)
		}
		if err := w.token(); err != nil {
			return err
		}
	}
	return w.end()
}

func (w *writer) token() error {
	return w.chunk(event, strconv.FormatInt(time.Now().UnixNano(), 10), ending)
}

// end sends what follows the last token.
func (w *writer) end() error {
	if err := w.chunk(done); err != nil {
		return err
	}
	w.out = append(w.out[:0], "0\r\n\r\n"...)
	return w.send()
}
