package load

import (
	"fmt"
	"strconv"

	"github.com/nomad-vllm/nomad-vllm/bench/router/traffic"
)

// Target is where requests go.
type Target struct {
	// Addr takes the client's requests, host:port.
	Addr string
	// Header is further header lines, each with its line end.
	Header string
	// Prefill makes the client do both legs itself: leg 1 goes there, leg 2 to Addr.
	Prefill string
}

// messages is everything a connection sends, made before the clock runs.
type messages struct {
	target Target
	answer traffic.Answer
	plain  [][]byte // whole requests to a router
	leg1   [][]byte // whole requests to a prefill
	leg2   [][]byte // bodies for a decode, without the last brace
}

func newMessages(t Target, cell traffic.Cell) *messages {
	m := &messages{target: t, answer: cell.Answer}
	for v := range traffic.Variants {
		body := traffic.Body(traffic.Tag{Answer: cell.Answer, Size: cell.Size, Variant: v})
		if t.Prefill == "" {
			m.plain = append(m.plain, append(head(t.Addr, t.Header, len(body)), body...))
			continue
		}
		first := leg1(body)
		m.leg1 = append(m.leg1, append(head(t.Prefill, t.Header, len(first)), first...))
		m.leg2 = append(m.leg2, body[:len(body)-1])
	}
	return m
}

func head(host, more string, length int) []byte {
	return []byte("POST /v1/chat/completions HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: bench\r\nAccept: */*\r\n" +
		"Content-Type: application/json\r\nAuthorization: Bearer bench\r\n" + more + "Content-Length: " + strconv.Itoa(length) + "\r\n\r\n")
}

// leg1 is the request as a careful client would ask a prefill itself.
func leg1(body []byte) []byte {
	// The keys come in the order of traffic.Body; messages are quoted, so that
	// none of this can stand inside them.
	out := replace(body, fmt.Sprintf(`,"max_tokens":%d,`, traffic.MaxTokens), `,"max_tokens":1,`)
	out = replace(out, `,"stream":true,`, `,"stream":false,`)
	return append(out[:len(out)-1], `,"kv_transfer_params":{"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,"remote_host":null,"remote_port":null}}`...)
}
