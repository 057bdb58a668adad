package router

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router/h1"
)

// source is a fleet that tests change.
type source struct {
	view    atomic.Pointer[fleet.Snapshot]
	err     atomic.Pointer[error] // set while the router looks
	changed chan struct{}
}

func newSource() *source { return &source{changed: make(chan struct{}, 1)} }

func (s *source) Changed() <-chan struct{} { return s.changed }

func (s *source) Snapshot() *fleet.Snapshot { return s.view.Load() }

func (s *source) LastError() error {
	if err := s.err.Load(); err != nil {
		return *err
	}
	return nil
}

func (s *source) set(instances ...*fleet.Instance) {
	s.view.Store(fleet.NewSnapshot(instances, time.Now()))
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// inst is one instance at an address.
func inst(id, url string, role pd.Role, change ...func(*fleet.Instance)) *fleet.Instance {
	i := &fleet.Instance{ID: id, URL: url, Role: role, Meta: pd.Meta{Model: "m", DPSize: 1}}
	for _, f := range change {
		f(i)
	}
	return i
}

// logBuffer collects log lines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// rig is a router in front of fake engines.
type rig struct {
	t      *testing.T
	front  *front
	server *Server
	source *source
	log    *logBuffer
}

func newRig(t *testing.T, instances ...*fleet.Instance) *rig {
	return newRigWith(t, Config{}, instances...)
}

func newRigWith(t *testing.T, cfg Config, instances ...*fleet.Instance) *rig {
	r := &rig{t: t, source: newSource(), log: &logBuffer{}}
	if len(instances) > 0 {
		r.source.set(instances...)
	}
	if cfg.Source == nil {
		cfg.Source = r.source
	}
	cfg.Logger = hclog.New(&hclog.LoggerOptions{Output: r.log, Level: hclog.Debug})
	var err error
	r.server, err = New(cfg)
	require.NoError(t, err)
	t.Cleanup(r.server.Close)
	ctx, cancel := context.WithCancel(context.Background())
	ran := make(chan struct{})
	go func() { defer close(ran); _ = r.server.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ran })
	r.front = serve(t, r.server.Handler())
	return r
}

// front is the server that pd-router runs on Linux.
type front struct{ URL string }

func serve(t *testing.T, handler http.Handler) *front {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s, done := &h1.Server{Handler: handler}, make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		require.ErrorIs(t, <-done, http.ErrServerClosed)
	})
	return &front{URL: "http://" + l.Addr().String()}
}

// pair is a rig with one prefill and one decode.
func pair(t *testing.T) (r *rig, p, d *engine) {
	world := newEngines(t)
	p, d = world.start(), world.start()
	return newRig(t, inst("p", p.URL, pd.RolePrefill), inst("d", d.URL, pd.RoleDecode)), p, d
}

const (
	chatPath = "/v1/chat/completions"
	cmplPath = "/v1/completions"

	responsesPath = "/v1/responses"
	messagesPath  = "/v1/messages"
)

// reply is an answer, read whole.
type reply struct {
	*http.Response
	body string
}

func (r *rig) do(method, path, body string, header ...string) reply {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, r.front.URL+path, strings.NewReader(body))
	require.NoError(r.t, err)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(r.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(r.t, err)
	return reply{resp, string(b)}
}

func (r *rig) post(path, body string, header ...string) reply {
	r.t.Helper()
	return r.do(http.MethodPost, path, body, header...)
}

func (r *rig) get(path string) reply {
	r.t.Helper()
	return r.do(http.MethodGet, path, "")
}

// admin calls the operators' side.
func (r *rig) admin(method, path string, header ...string) reply {
	r.t.Helper()
	req := httptest.NewRequest(method, path, nil)
	for n := 0; n < len(header); n += 2 {
		req.Header.Set(header[n], header[n+1])
	}
	w := httptest.NewRecorder()
	r.server.Admin().ServeHTTP(w, req)
	return reply{w.Result(), w.Body.String()}
}

// served checks how a reply says that it was served.
func (p reply) served(t *testing.T, path pd.Path, reason pd.Reason) {
	t.Helper()
	require.Equal(t, http.StatusOK, p.StatusCode, p.body)
	require.Equal(t, string(path), p.Header.Get(pd.HeaderPath))
	require.Equal(t, string(reason), p.Header.Get(pd.HeaderReason))
}

// apiError is the reply's OpenAI error.
func (p reply) apiError(t *testing.T, code int) apiError {
	t.Helper()
	require.Equal(t, code, p.StatusCode, p.body)
	var e struct {
		Error *apiError `json:"error"`
	}
	require.NoError(t, json.Unmarshal([]byte(p.body), &e), p.body)
	require.NotNil(t, e.Error)
	require.Equal(t, code, e.Error.Code)
	require.NotEmpty(t, e.Error.Message)
	require.NotEmpty(t, e.Error.Type)
	return *e.Error
}

// series is one line of /metrics; a histogram's value is its count.
type series struct {
	name   string
	labels map[string]string
	value  float64
}

// is reports whether the series has the name and the labels (name, value, ...).
func (s series) is(name string, labels []string) bool {
	for i := 0; i < len(labels); i += 2 {
		if s.labels[labels[i]] != labels[i+1] {
			return false
		}
	}
	return s.name == name
}

// scraped is what /metrics says.
func (r *rig) scraped() (all []series) {
	r.t.Helper()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	// Packed it would cost a row more than the row itself.
	families, err := parser.TextToMetricFamilies(strings.NewReader(r.do(http.MethodGet, "/metrics", "", "Accept-Encoding", "identity").body))
	require.NoError(r.t, err)
	for name, f := range families {
		for _, m := range f.GetMetric() {
			s := series{name: name, labels: map[string]string{}}
			s.value = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			for _, l := range m.GetLabel() {
				s.labels[l.GetName()] = l.GetValue()
			}
			all = append(all, s)
		}
	}
	return all
}

// metric is the value of one series, -1 if absent.
func (r *rig) metric(name string, labels ...string) float64 {
	r.t.Helper()
	for _, s := range r.scraped() {
		if s.is(name, labels) {
			return s.value
		}
	}
	return -1
}

// sum adds up the series of a metric that have the given labels.
func sum(of []series, name string, labels ...string) (sum float64) {
	for _, s := range of {
		if s.is(name, labels) {
			sum += s.value
		}
	}
	return sum
}
