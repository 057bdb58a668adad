package router

import (
	"cmp"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

// failureRow is one row of docs/failures.md. play ends with the stage as the
// row left it; then the row's counters must have moved.
type failureRow struct {
	id   string
	play func(t *testing.T, s *suite) *rig
}

// endpointRow is one that is played on each endpoint.
type endpointRow struct {
	id   string
	play func(t *testing.T, s *suite, d dialect) *rig
}

// TestFailures plays the whole table. The root package's tests check that no
// row is without a test and no test without a row.
func TestFailures(t *testing.T) {
	counted := countedByRow(t)
	s := &suite{says: undisturbed(t)}
	t.Cleanup(s.close)
	for _, r := range append(legsEverywhere(), clientRows()...) {
		t.Run(r.id, func(t *testing.T) {
			onEach(t, func(t *testing.T, d dialect) { r.play(t, s, d).moved(t, counted[r.id]) })
		})
	}
	for _, r := range fleetRows() {
		t.Run(r.id, func(t *testing.T) { r.play(t, s).moved(t, counted[r.id]) })
	}
	s.allFreed(t)
}

// legsEverywhere are the rows of legs, each of which says on an endpoint what
// it is there.
func legsEverywhere() (rows []endpointRow) {
	for n, r := range legRows(completions()) {
		rows = append(rows, endpointRow{r.id, func(t *testing.T, s *suite, d dialect) *rig { return legRows(d)[n].play(t, s, d) }})
	}
	return rows
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

// moved waits until each series, as the table writes it
// ("retries{leg=decode}"), is above zero.
func (r *rig) moved(t *testing.T, counted []string) {
	t.Helper()
	for until := time.Now().Add(waitFor); len(counted) > 0; <-time.After(tick) {
		require.True(t, time.Now().Before(until), "%s did not move", counted)
		now := r.scraped()
		counted = slices.DeleteFunc(slices.Clone(counted), func(written string) bool {
			name, rest, _ := strings.Cut(strings.TrimSuffix(written, "}"), "{")
			var labels []string
			for pair := range strings.SplitSeq(rest, ",") {
				if k, v, ok := strings.Cut(pair, "="); ok {
					labels = append(labels, k, v)
				}
			}
			return sum(now, "pd_router_"+name+"_total", labels...)+sum(now, "pd_router_"+name, labels...) > 0
		})
	}
}

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
	tokens int // asked for instead of the usual number

	code   int // 0: 200
	path   pd.Path
	reason pd.Reason
	says   string // part of the error, or of the event that ends a stream under way; none: the whole, right answer

	prefills, decodes int // requests that arrived
	leases            int // that stand afterwards; -1: their time may be over
	cancelled         int // legs that the router broke off; -1: maybe one, at the end of an answer that it did not like
}

func (r legRow) play(t *testing.T, s *suite, d dialect) *rig {
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
	body := d.request(cmp.Or(r.tokens, rowTokens))
	if r.stream {
		body = d.streamed(rowTokens)
	}
	r.told(t, g.post(d.path, body), d, s.says[d.name])
	require.Equal(t, r.prefills, total(g.p, (*stand).count), "requests at prefills")
	require.Equal(t, r.decodes, total(g.d, (*stand).count), "requests at decodes")
	if r.cancelled >= 0 {
		require.Eventually(t, func() bool { return total(append(g.p, g.d...), (*stand).cancelled) == r.cancelled }, waitFor, tick, "legs broken off")
	}
	if r.leases >= 0 {
		require.Eventually(t, func() bool { return total(g.p, (*stand).leases) == r.leases }, waitFor, tick, "leases that stand")
	}
	var now []series
	require.Eventually(t, func() bool {
		now = g.scraped()
		return sum(now, "pd_router_requests_in_flight") == 0
	}, waitFor, tick)
	require.Equal(t, 1.0, sum(now, "pd_router_requests_total"), "a client that asks again would hide what the router did not do")
	return g.rig
}

// told checks what the client got, which is want if nothing is to be seen.
func (r legRow) told(t *testing.T, got reply, d dialect, want string) {
	t.Helper()
	if r.code != 0 {
		require.Contains(t, d.errorOf(t, got, r.code), r.says)
		if r.code == http.StatusServiceUnavailable {
			require.NotEmpty(t, got.Header.Get("Retry-After"))
		}
		return
	}
	got.served(t, r.path, r.reason)
	if !r.stream {
		require.Equal(t, want, text(t, got.body))
		return
	}
	h := d.hear(t, got.body)
	if r.says == "" {
		require.Equal(t, heard{text: want, whole: true}, h)
		return
	}
	require.Contains(t, h.err, r.says, "nobody takes it for a whole answer")
	require.NotEmpty(t, h.text, "what there was: %s", got.body)
	require.True(t, strings.HasPrefix(want, h.text) && h.text != want, "%q of %q", h.text, want)
	require.Equal(t, d.end, strings.TrimLeft(h.rest, "\n"), "nothing comes after the error but the protocol's end")
}

// within is a router with all times short.
func within(limit time.Duration) stageConfig {
	return stageConfig{router: Config{PrefillTimeout: limit, FirstTokenTimeout: limit, AnswerTimeout: limit, StallTimeout: limit}}
}
