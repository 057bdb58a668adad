package vllm

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// recordingFile holds what real vLLM answered, one scenario a line, so that the
// simulator is held to it where the real engine is not installed.
const recordingFile = "testdata/vllm-0.32.0-cpu.jsonl"

type recorded struct {
	Scenario string   `json:"scenario"`
	Answers  []answer `json:"answers"`
}

// metricsOf starts the step of an answer that is a list of metrics.
const metricsOf = "metrics of "

// kept are the response headers that say something about the server.
var kept = []string{"Content-Type", "X-Request-Id", "Endpoint-Load-Metrics", "Allow"}

// runAll runs every scenario against one pair.
func runAll(prefill, decode *server) []recorded {
	var out []recorded
	for _, sc := range scenarios() {
		s := newSession(prefill.url, decode.url, sc.name, fmt.Sprintf("%x", prefill.started.UnixNano()))
		sc.run(s)
		out = append(out, recorded{sc.name, s.answers})
	}
	return append(out, recorded{"metrics", []answer{
		{Step: metricsOf + "prefill", Status: http.StatusOK, Body: metricShapes(scrape(prefill.url))},
		{Step: metricsOf + "decode", Status: http.StatusOK, Body: metricShapes(scrape(decode.url))},
	}})
}

// withoutPaths names the model where the real server named the folder that stands in for it.
func withoutPaths(all []recorded, modelDir string) []recorded {
	for _, r := range all {
		for i := range r.Answers {
			r.Answers[i].Body = strings.ReplaceAll(r.Answers[i].Body, modelDir, model)
		}
	}
	return all
}

func writeRecording(t *testing.T, all []recorded) {
	t.Helper()
	var buf bytes.Buffer
	for _, r := range all {
		answers := slices.Clone(r.Answers)
		for i, a := range answers {
			answers[i].Header = http.Header{}
			for _, h := range kept {
				if v := a.Header.Values(h); len(v) > 0 {
					answers[i].Header[h] = v
				}
			}
		}
		line, err := json.Marshal(recorded{r.Scenario, answers})
		require.NoError(t, err)
		buf.Write(append(line, '\n'))
	}
	require.NoError(t, os.MkdirAll("testdata", 0o755))
	require.NoError(t, os.WriteFile(recordingFile, buf.Bytes(), 0o644))
}

func readRecording(t *testing.T) []recorded {
	t.Helper()
	f, err := os.Open(recordingFile)
	require.NoError(t, err)
	defer f.Close()
	var out []recorded
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var r recorded
		require.NoError(t, json.Unmarshal(lines.Bytes(), &r))
		out = append(out, r)
	}
	require.NoError(t, lines.Err())
	return out
}

// compareAll fails the test once for each scenario that was answered differently.
func compareAll(t *testing.T, want, got []recorded) {
	t.Helper()
	byName := map[string]recorded{}
	for _, r := range got {
		byName[r.Scenario] = r
	}
	alike := 0
	for _, w := range want {
		found := compareRecorded(w, byName[w.Scenario])
		for _, d := range found {
			t.Errorf("%s: %s", w.Scenario, d)
		}
		if len(found) == 0 {
			alike++
		}
	}
	t.Logf("%d of %d scenarios alike", alike, len(want))
}

func compareRecorded(want, got recorded) []string {
	var out []string
	for i, w := range want.Answers {
		if i >= len(got.Answers) {
			out = append(out, w.Step+": not asked")
			continue
		}
		for _, d := range differences(w, got.Answers[i]) {
			out = append(out, w.Step+": "+d)
		}
	}
	return out
}

var sample = regexp.MustCompile(`^(vllm:[a-zA-Z0-9_:]+)(?:\{(.*)\})? \S+$`)
var label = regexp.MustCompile(`(\w+)="((?:[^"\\]|\\.)*)"`)

// metricShapes lists the vllm: metrics of a scrape, one a line: name, label
// names, and the values of the labels that come from a closed list.
func metricShapes(text string) string {
	seen := map[string]bool{}
	for line := range strings.SplitSeq(text, "\n") {
		if typ, ok := strings.CutPrefix(line, "# TYPE vllm:"); ok {
			seen["# vllm:"+typ] = true
			continue
		}
		m := sample.FindStringSubmatch(line)
		if m == nil || strings.HasSuffix(m[1], "_created") {
			continue
		}
		var labels []string
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			if slices.Contains([]string{"le", "source", "reason", "finished_reason", "sleep_state"}, l[1]) {
				labels = append(labels, l[1]+"="+l[2])
			} else {
				labels = append(labels, l[1])
			}
		}
		slices.Sort(labels)
		seen[m[1]+"{"+strings.Join(labels, ",")+"}"] = true
	}
	var out []string
	for s := range seen {
		out = append(out, s)
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}
