package handoff

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nomad-vllm/nomad-vllm/router/body"
)

// Given is what a prefill handed over. Its shape is checked, not yet that it
// is that prefill's to give: see Ledger.
type Given struct {
	// Params are as the prefill wrote them, and lie in its answer.
	Params    json.RawMessage
	EngineID  string
	Host      string
	Port      int
	RequestID string // of the prefill's engine; it contains the leg's X-Request-Id
}

// Refusal is why what a prefill handed over is not passed on. The list is
// closed: it is a metric label.
type Refusal string

// The refusals.
const (
	RefusedAbsent  Refusal = "absent"  // no params in a 200: no connector, or the answer ended otherwise
	RefusedShape   Refusal = "shape"   // params that a decode would hang on or die of
	RefusedRequest Refusal = "request" // another request's: the decode would write its answer
	RefusedEngine  Refusal = "engine"  // another engine's than the instance is
	RefusedAddress Refusal = "address" // another side channel than the instance has
	RefusedLate    Refusal = "late"    // its lease is over, or nearly
)

// Refusals lists every refusal, so that each is exported as zero before it first happens.
func Refusals() []Refusal {
	return []Refusal{RefusedAbsent, RefusedShape, RefusedRequest, RefusedEngine, RefusedAddress, RefusedLate}
}

// RefusedError is a handoff that is not passed on.
type RefusedError struct {
	Why    Refusal
	Detail string
}

func (e *RefusedError) Error() string {
	return "no usable " + keyParams + " (" + string(e.Why) + "): " + e.Detail
}

func shape(detail string) error { return &RefusedError{Why: RefusedShape, Detail: detail} }

// Reader takes handoffs out of prefills' answers. It keeps memory between
// answers; one goroutine uses it. The zero Reader is ready.
type Reader struct {
	answer, params body.Object
}

// Read takes kv_transfer_params out of leg 1's answer, as written, after
// checking the parts without which vLLM's decode hangs or dies. The error is a
// *RefusedError if the answer is in order otherwise.
func (r *Reader) Read(answer []byte) (Given, error) {
	if err := r.answer.ResetWith(answer, keyParams, &r.params); err != nil {
		return Given{}, fmt.Errorf("read prefill's answer: %w", err)
	}
	raw := r.answer.Get(keyParams)
	if raw == nil || string(raw) == "null" {
		return Given{}, &RefusedError{Why: RefusedAbsent, Detail: "absent or null; does the prefill run with a KV connector?"}
	}
	if raw[0] != '{' {
		return Given{}, shape("no object")
	}
	g := Given{
		Params: raw, EngineID: text(r.params.Get("remote_engine_id")),
		Host: text(r.params.Get("remote_host")), RequestID: text(r.params.Get("remote_request_id")),
	}
	var err error
	g.Port, err = strconv.Atoi(string(r.params.Get("remote_port")))
	return g, r.check(g, err)
}

func (r *Reader) check(g Given, badPort error) error {
	size := r.params.Get("tp_size")
	switch {
	case string(r.params.Get("do_remote_prefill")) != "true":
		return shape("do_remote_prefill is not true")
	case !isOneOf(r.params.Get("do_remote_decode"), "false"):
		return shape("do_remote_decode is true as well") // both kill the engine
	case g.EngineID == "":
		return shape("remote_engine_id")
	case g.Host == "":
		return shape("remote_host")
	case badPort != nil || g.Port < 1 || g.Port > 65535:
		return shape("remote_port")
	case g.RequestID == "":
		return shape("remote_request_id")
	case !blockIDs(r.params.Get("remote_block_ids")):
		return shape("remote_block_ids")
	case !isOneOf(size) && !wholeNumber(size):
		return shape("tp_size")
	}
	return nil
}

// text is a JSON string's value, "" if it is none.
func text(raw json.RawMessage) string {
	s, _ := body.Text(raw)
	return s
}

// blockIDs reports whether a valid JSON value is a list of block numbers for
// each KV cache group, or, up to early 2026, one flat list. There are thousands.
func blockIDs(raw json.RawMessage) bool {
	if len(raw) == 0 || raw[0] != '[' {
		return false
	}
	for rest := raw[1:]; ; {
		rest = bytes.TrimLeft(rest, ", \t\n\r")
		switch rest[0] {
		case ']':
			return true
		case '[':
			end := bytes.IndexByte(rest, ']')
			if !blockNumbers(rest[1:end]) {
				return false
			}
			rest = rest[end+1:]
		default:
			return blockNumbers(raw[1 : len(raw)-1])
		}
	}
}

// blockNumbers reports whether what stands in a valid list is nothing but
// numbers without a sign or a fraction.
func blockNumbers(list []byte) bool {
	var other uint8
	for _, c := range list {
		other |= notInBlocks[c]
	}
	return other == 0
}

// notInBlocks is 0 for a byte that may be in a list of block numbers.
var notInBlocks = func() (not [256]uint8) {
	for c := range not {
		if !strings.ContainsRune("0123456789, \t\n\r", rune(c)) {
			not[c] = 1
		}
	}
	return not
}()

func wholeNumber(raw json.RawMessage) bool {
	n, err := strconv.Atoi(string(raw))
	return err == nil && n >= 1
}

// ErrNoParams reports whether an error is an answer without usable params.
func ErrNoParams(err error) bool {
	_, ok := errors.AsType[*RefusedError](err)
	return ok
}

// For reports whether the handoff is the request's, by the ids that vLLM builds
// its own from: the X-Request-Id header, or the body's request_id.
func (g Given) For(id string, request *body.Object) bool {
	if strings.Contains(g.RequestID, id) {
		return true
	}
	own := text(request.Get(keyRequestID))
	return own != "" && strings.Contains(g.RequestID, own)
}
