package sidechannel

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"

	"github.com/nomad-vllm/nomad-vllm/sim/kv"
)

// Operations of a request.
const (
	opMeta      = "meta"      // who are you
	opRead      = "read"      // the contents of some blocks
	opDone      = "done"      // a request's KV has been read, or will never be
	opHeartbeat = "heartbeat" // requests whose KV is still wanted
)

type request struct {
	Op       string   `json:"op"`
	Blocks   []int    `json:"blocks,omitempty"`
	Requests []string `json:"requests,omitempty"`
}

type response struct {
	Meta  *Meta  `json:"meta,omitempty"`
	Error string `json:"error,omitempty"`
	// Bytes follow the response.
	Bytes int `json:"bytes,omitempty"`
}

// Meta is what an engine says of itself in the handshake.
type Meta struct {
	EngineID  string `json:"engine_id"`
	Model     string `json:"model"`
	BlockSize int    `json:"block_size"`
	// WireBytes is the number of bytes sent for a token, at least slotBytes.
	WireBytes int `json:"wire_bytes"`
}

// slotBytes is the part of a token's bytes that means something; the rest is
// padding that makes the transfer as large as was asked for.
const slotBytes = 8

const maxMessage = 16 << 20

func writeMessage(conn net.Conn, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	frame := make([]byte, 4, 4+len(body))
	binary.BigEndian.PutUint32(frame, uint32(len(body)))
	_, err = conn.Write(append(frame, body...))
	return err
}

func readMessage(r io.Reader, into any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxMessage {
		return fmt.Errorf("message of %d bytes: not a side channel of this kind", n)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

func encodeBlock(slots []kv.Slot, wireBytes int) []byte {
	out := make([]byte, len(slots)*wireBytes)
	for i, s := range slots {
		binary.BigEndian.PutUint64(out[i*wireBytes:], uint64(s))
	}
	return out
}

func decodeBlock(body []byte, wireBytes int) []kv.Slot {
	out := make([]kv.Slot, len(body)/wireBytes)
	for i := range out {
		out[i] = kv.Slot(binary.BigEndian.Uint64(body[i*wireBytes:]))
	}
	return out
}
