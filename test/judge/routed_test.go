package judge

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router"
	"github.com/nomad-vllm/nomad-vllm/router/handoff"
)

// routed is a whole router before a prefill and a decode, and the judge of it.
// It is also the router's source: each case has a prefill of another name, of
// which the router knows no engine and no failure from the cases before.
type routed struct {
	python          *python
	handler         http.Handler
	prefill, decode *engine
	handsOver       atomic.Pointer[string] // the prefill's next answer
	cases           int
	view            *fleet.Snapshot
}

func newRouted(tb testing.TB) *routed {
	r := &routed{python: startPython(tb)}
	r.prefill = startEngine(tb, func(string, []byte) (string, string) { return asJSON, *r.handsOver.Load() })
	r.decode = startEngine(tb, decoded)
	server, err := router.New(router.Config{Source: r, Logger: hclog.NewNullLogger()})
	require.NoError(tb, err)
	tb.Cleanup(server.Close)
	r.handler = server.Handler()
	return r
}

// Snapshot is the case's. The instances name no model, so they serve any.
func (r *routed) Snapshot() *fleet.Snapshot { return r.view }

func (r *routed) Changed() <-chan struct{} { return nil }

func (r *routed) LastError() error { return nil }

func (r *routed) request(tb testing.TB, ep handoff.Endpoint, raw []byte) string {
	tb.Helper()
	return r.send(tb, ep, raw, `{"id":"x","choices":[],"kv_transfer_params":`+given+`}`)
}

// answer asks with params of the client's own, which must not stand in for
// those that the prefill does not give.
func (r *routed) answer(tb testing.TB, raw []byte) string {
	tb.Helper()
	return r.send(tb, handoff.Chat, []byte(`{"messages":[],"kv_transfer_params":`+given+`}`), string(raw))
}

// send says what is wrong with what becomes of a request.
func (r *routed) send(tb testing.TB, ep handoff.Endpoint, raw []byte, handsOver string) string {
	tb.Helper()
	r.handsOver.Store(&handsOver)
	r.cases++
	r.view = fleet.NewSnapshot([]*fleet.Instance{
		{ID: "d", URL: r.decode.URL, Role: pd.RoleDecode},
		{ID: "p" + strconv.Itoa(r.cases), URL: r.prefill.URL, Role: pd.RolePrefill},
	}, time.Now())
	asked := httptest.NewRequest(http.MethodPost, string(ep), bytes.NewReader(raw))
	asked.Header.Set("Content-Type", "application/json")
	asked.Header.Set(pd.HeaderRequestID, requestID)
	told := httptest.NewRecorder()
	r.handler.ServeHTTP(told, asked)

	ones, twos := r.prefill.take(), r.decode.take()
	if told.Code == http.StatusOK && len(twos) > 0 {
		_, answer := decoded(string(ep), twos[len(twos)-1])
		if got := told.Body.String(); got != answer {
			return fmt.Sprintf("the client was told %q, the decode said %q", got, answer)
		}
	}
	fields := [][]byte{
		[]byte("routed"), []byte(ep), raw, []byte(strconv.Itoa(told.Code)), []byte(told.Header().Get(pd.HeaderPath)), []byte(told.Header().Get(pd.HeaderReason)),
		told.Body.Bytes(), []byte(requestID), []byte(handsOver), []byte(strconv.Itoa(len(ones))),
	}
	return r.python.judge(tb, append(append(fields, ones...), twos...)...)
}
