package router

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

// failureRow is one row of docs/failures.md. play ends with the stage as the
// row left it; then the row's counters must have moved.
type failureRow struct {
	id   string
	play func(t *testing.T, s *suite) *rig
}

// TestFailures plays the whole table. The root package's tests check that no
// row is without a test and no test without a row.
func TestFailures(t *testing.T) {
	counted := countedByRow(t)
	s := &suite{}
	t.Cleanup(s.close)
	var rows []failureRow
	for _, r := range legRows() {
		rows = append(rows, failureRow{r.id, r.play})
	}
	for _, r := range append(append(rows, clientRows()...), fleetRows()...) {
		t.Run(r.id, func(t *testing.T) {
			at := r.play(t, s)
			for _, series := range counted[r.id] {
				at.moved(t, series)
			}
		})
	}
	s.allFreed(t)
}

// countedByRow is the last column of the table: which counters move.
func countedByRow(t *testing.T) map[string][]string {
	b, err := os.ReadFile("../docs/failures.md")
	require.NoError(t, err)
	quoted, out := regexp.MustCompile("`([^`]+)`"), map[string][]string{}
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(line, "|")
		if len(cells) != 8 {
			continue
		}
		id := strings.TrimSpace(cells[1])
		out[id] = []string{}
		for _, m := range quoted.FindAllStringSubmatch(cells[6], -1) {
			out[id] = append(out[id], m[1])
		}
	}
	return out
}

// moved waits until a series, as the table writes it ("retries{leg=decode}"),
// is above zero.
func (r *rig) moved(t *testing.T, series string) {
	t.Helper()
	name, rest, _ := strings.Cut(strings.TrimSuffix(series, "}"), "{")
	var labels []string
	for pair := range strings.SplitSeq(rest, ",") {
		if k, v, ok := strings.Cut(pair, "="); ok {
			labels = append(labels, k, v)
		}
	}
	for until := time.Now().Add(waitFor); r.sum("pd_router_"+name+"_total", labels)+r.sum("pd_router_"+name, labels) == 0; <-time.After(tick) {
		require.True(t, time.Now().Before(until), "%s did not move", series)
	}
}

// sum adds up the series of a metric that have the given labels.
func (r *rig) sum(name string, labels []string) (sum float64) {
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(r.get("/metrics").body))
	require.NoError(r.t, err)
	for _, m := range families[name].GetMetric() {
		has := map[string]string{}
		for _, l := range m.GetLabel() {
			has[l.GetName()] = l.GetValue()
		}
		all := true
		for i := 0; i < len(labels); i += 2 {
			all = all && has[labels[i]] == labels[i+1]
		}
		if all {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return sum
}

// The request of all rows: a prompt of some blocks.
var (
	rowPrompt = strings.Repeat("the prefill reads and the decode writes ", 20)
	rowJSON   = fmt.Sprintf(`{"model":"m","prompt":%q,"max_tokens":6,"temperature":0}`, rowPrompt)
	rowStream = strings.TrimSuffix(rowJSON, "}") + `,"stream":true}`
)

// legRow is a row in which one leg's instance fails.
type legRow struct {
	id string
	// at is the pool whose first member has the fault; with every all of them.
	at     pd.Role
	fault  fault
	every  bool
	closed int // so many members of the pool refuse connections
	stage  stageConfig
	stream bool
	body   string // instead of the usual request

	code   int // 0: 200
	path   pd.Path
	reason pd.Reason
	says   []string // parts of the answer; none: the whole, right text

	prefills, decodes int // requests that arrived
	leases            int // that stand afterwards; -1: their time may be over
	cancelled         int // legs that the router broke off; -1: maybe one, at the end of an answer that it did not like
}

func (r legRow) play(t *testing.T, s *suite) *rig {
	g := s.stage(t, r.stage)
	pool := g.d
	if r.at == pd.RolePrefill {
		pool = g.p
	}
	for n, x := range pool {
		if n < r.closed {
			x.Close()
		}
		if r.fault != nil && (n == 0 || r.every) {
			x.does(r.fault)
		}
	}
	body := rowJSON
	if r.stream {
		body = rowStream
	}
	if r.body != "" {
		body = r.body
	}
	got := g.post(cmplPath, body)
	r.told(t, got)
	require.Equal(t, r.prefills, total(g.p, (*stand).count), "requests at prefills")
	require.Equal(t, r.decodes, total(g.d, (*stand).count), "requests at decodes")
	if r.cancelled >= 0 {
		require.Eventually(t, func() bool { return total(append(g.p, g.d...), (*stand).cancelled) == r.cancelled }, waitFor, tick, "legs broken off")
	}
	if r.leases >= 0 {
		require.Eventually(t, func() bool { return total(g.p, (*stand).leases) == r.leases }, waitFor, tick, "leases that stand")
	}
	require.Eventually(t, func() bool { return g.metric("pd_router_requests_in_flight") == 0 }, waitFor, tick)
	require.Equal(t, 1.0, g.sum("pd_router_requests_total", nil), "a client that asks again would hide what the router did not do")
	return g.rig
}

// told checks what the client got.
func (r legRow) told(t *testing.T, got reply) {
	t.Helper()
	if r.code != 0 {
		e := got.apiError(t, r.code)
		for _, part := range r.says {
			require.Contains(t, e.Message, part)
		}
		if r.code == http.StatusServiceUnavailable {
			require.NotEmpty(t, got.Header.Get("Retry-After"))
		}
		return
	}
	got.served(t, r.path, r.reason)
	if r.stream {
		require.True(t, strings.HasSuffix(got.body, "data: [DONE]\n\n"), got.body)
	}
	for _, part := range r.says {
		require.Contains(t, got.body, part)
	}
	if len(r.says) == 0 {
		require.Len(t, strings.Fields(text(t, got.body)), 6, "a word a token: %s", got.body)
	}
}

// within is a router with all times short.
func within(limit time.Duration) stageConfig {
	return stageConfig{router: Config{PrefillTimeout: limit, FirstTokenTimeout: limit, AnswerTimeout: limit, StallTimeout: limit}}
}
