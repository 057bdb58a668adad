package main

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nomad-vllm/nomad-vllm/bench/router/proc"
)

// tally counts what happened. Its methods may be called from any goroutine.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
	codes  map[string]int // of answers, by status and path
	took   []time.Duration
	losses []string // the first few, in words
}

func newTally() *tally { return &tally{counts: map[string]int{}, codes: map[string]int{}} }

func (t *tally) reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts, t.codes, t.took = map[string]int{}, map[string]int{}, nil
}

func (t *tally) count(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts[what]++
}

// ended counts a request that was answered.
func (t *tally) ended(how string, resp *http.Response, took time.Duration) {
	t.count(how)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.took = append(t.took, took)
	t.codes[strings.TrimSpace(fmt.Sprintf("%d %s %s", resp.StatusCode, resp.Header.Get("x-pd-path"), resp.Header.Get("x-pd-reason")))]++
}

// lost counts a request without an answer, or a drill that went wrong itself.
func (t *tally) lost(format string, args ...any) {
	t.count(outcomeLost)
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.losses) < 20 {
		t.losses = append(t.losses, fmt.Sprintf(format, args...))
	}
}

// holding is what the router's process holds.
type holding struct {
	goroutines, files int
	resident          int64
	inFlight          int
	stacks            string // of the goroutines
}

func residentBytes(pid int) int64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	var size, resident int64
	if _, scanErr := fmt.Sscan(string(b), &size, &resident); err != nil || scanErr != nil {
		return 0
	}
	return resident * int64(os.Getpagesize())
}

// mostMemory is far above what 32 clients can make a router hold, and far below
// what a leak for ten minutes would come to.
const mostMemory = 256 << 20

// report is how a drill went.
type report struct {
	cfg           config
	at            time.Time
	tally         *tally
	before, after holding
	peak          int64
	leaked        []string
	counters      map[string]float64
}

// broken lists what was promised and not held.
func (r report) broken() (bad []string) {
	bad = append(bad, r.tally.losses...)
	for _, l := range r.leaked {
		bad = append(bad, "leaked: "+l)
	}
	if r.after.goroutines > r.before.goroutines {
		bad = append(bad, fmt.Sprintf("%d goroutines at the start, %d at the end:\n%s", r.before.goroutines, r.after.goroutines, r.after.stacks))
	}
	if r.after.files > r.before.files {
		bad = append(bad, fmt.Sprintf("%d descriptors at the start, %d at the end", r.before.files, r.after.files))
	}
	if r.after.inFlight != 0 {
		bad = append(bad, fmt.Sprintf("%d requests in flight at the end", r.after.inFlight))
	}
	if r.peak == 0 || r.peak > mostMemory {
		bad = append(bad, fmt.Sprintf("the router held %d MiB", r.peak>>20))
	}
	if r.tally.counts[outcomeWhole] == 0 {
		bad = append(bad, "no request was served")
	}
	return bad
}

// heading begins the section of the report in a document.
const heading = "## The soak\n"

// text is the report in Markdown.
func (r report) text() string {
	m, t := proc.Here(), r.tally
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s by `make soak-router`: %s, %d cores, %d MiB, %s, %s; seed %d. Load of other work on the machine is not controlled.\n\n",
		heading, r.at.UTC().Format("2006-01-02"), m.CPU, m.Cores, m.MiB, m.Kernel, m.Go, r.cfg.seed)
	requests := 0
	for _, o := range outcomes() {
		requests += t.counts[o]
	}
	fmt.Fprintf(&b, "%s of faults at random; %d clients at once, 3 prefills, 3 decodes; %d requests, every one answered unless its client left:\n\n| what | count |\n|---|---|\n",
		r.cfg.lasts, r.cfg.clients, requests)
	for _, o := range outcomes() {
		fmt.Fprintf(&b, "| %s | %d |\n", o, t.counts[o])
	}
	slices.Sort(t.took)
	fmt.Fprintf(&b, "\nAnswers took %v in the median, %v at the 99th percentile, %v at most. By status, path and reason: %s.\n",
		t.at(0.5), t.at(0.99), t.at(1), listed(t.codes))
	troubles := maps.Clone(t.counts)
	for _, o := range outcomes() {
		delete(troubles, o)
	}
	fmt.Fprintf(&b, "\nTrouble: %s.\n", listed(troubles))
	fmt.Fprintf(&b, "\n| of the router's process | start | most | end |\n|---|---|---|---|\n| goroutines | %d | - | %d |\n| descriptors | %d | - | %d |\n| resident MiB | %d | %d | %d |\n",
		r.before.goroutines, r.after.goroutines, r.before.files, r.after.files, r.before.resident>>20, r.peak>>20, r.after.resident>>20)
	fmt.Fprintf(&b, "\nBlocks that any simulator still held after the leases: %d. What the router counted: %s.\n", len(r.leaked), listed(r.failures()))
	return b.String()
}

func outcomes() []string {
	return []string{outcomeWhole, outcomeError, outcomeEvent, outcomeLeft, outcomeLost}
}

// failures are the router's counters of what went wrong, in its own names.
func (r report) failures() map[string]int {
	out := map[string]int{}
	for name, v := range r.counters {
		for _, family := range []string{"retries_total", "instance_failures_total", "stream_failures_total", "handoffs_refused_total"} {
			if rest, ok := strings.CutPrefix(name, "pd_router_"+family); ok && v > 0 {
				out["`"+strings.TrimSuffix(family, "_total")+strings.ReplaceAll(rest, `"`, "")+"`"] = int(v)
			}
		}
	}
	return out
}

func (t *tally) at(share float64) time.Duration {
	if len(t.took) == 0 {
		return 0
	}
	return t.took[int(share*float64(len(t.took)-1))].Round(100 * time.Microsecond)
}

func listed(counts map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, counts[name]))
	}
	return strings.Join(parts, ", ")
}

// write puts the report into a document in place of the last one, at its end.
func (r report) write(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, _, _ := strings.Cut(string(b), heading)
	return os.WriteFile(path, []byte(strings.TrimRight(head, "\n")+"\n\n"+r.text()), 0o644)
}
