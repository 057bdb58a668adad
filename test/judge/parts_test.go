package judge

import (
	"encoding/json"
	"strconv"
	"testing"

	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router/body"
	"github.com/nomad-vllm/nomad-vllm/router/handoff"
)

// given is what a prefill hands over; it must come out of leg 2 as it is.
const given = `{"do_remote_prefill":true,"do_remote_decode":false,"remote_block_ids":[[17,18]],"remote_engine_id":"06629847","remote_request_id":"chatcmpl-1","remote_host":"127.0.0.1","remote_port":15600,"tp_size":1,"new":9007199254740993}`

// requestID is leg 1's X-Request-Id, by which given is that request's.
const requestID = "chatcmpl-1"

// judged is the router's part that reads and writes JSON, with the memory that
// it keeps between requests, and the judge of it.
type judged struct {
	python *python
	nixl   *handoff.NIXL
	object body.Object
	leg    body.Pieces
	reader handoff.Reader
}

func newJudged(tb testing.TB) *judged {
	return &judged{python: startPython(tb), nixl: handoff.NewNIXL()}
}

// request says what is wrong with how the router takes a request, "" if nothing is.
func (j *judged) request(tb testing.TB, ep handoff.Endpoint, raw []byte) string {
	tb.Helper()
	refused := func() string {
		return j.python.judge(tb, []byte("request"), []byte(ep), []byte("refused"), raw, nil, nil, nil, nil, nil)
	}
	if j.object.Reset(raw) != nil {
		return refused()
	}
	clean, err := handoff.Clean(&j.object)
	if err != nil {
		return refused()
	}
	var model string
	if m := clean.Get("model"); m != nil && string(m) != "null" {
		var ok bool
		if model, ok = body.Text(m); !ok {
			return refused()
		}
	}
	verdict := "disaggregated"
	if handoff.Unsupported(ep, clean) != pd.ReasonNone {
		verdict = "local"
	}
	j.nixl.PrefillBody(&j.leg, ep, clean, requestID)
	one := j.leg.Bytes()
	j.nixl.DecodeBody(&j.leg, clean, json.RawMessage(given))
	two := j.leg.Bytes()
	return j.python.judge(tb, []byte("request"), []byte(ep), []byte(verdict), raw, one, two, []byte(given), []byte(model), []byte(requestID))
}

// answer says what is wrong with how the router takes a prefill's answer.
func (j *judged) answer(tb testing.TB, raw []byte) string {
	tb.Helper()
	g, err := j.reader.Read(raw)
	verdict := "taken"
	if err != nil {
		verdict = "refused"
	}
	return j.python.judge(tb, []byte("answer"), []byte(verdict), raw, g.Params, []byte(g.EngineID), []byte(g.Host),
		[]byte(strconv.Itoa(g.Port)), []byte(g.RequestID))
}
