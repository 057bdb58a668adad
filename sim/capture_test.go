package sim_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/sim"
)

// capture is one exchange with real vLLM 0.32.0. Of metrics only names and
// label names were kept.
type capture struct {
	Name        string            `json:"name"`
	Server      string            `json:"server"`
	Method      string            `json:"method"`
	Path        string            `json:"path"`
	Header      map[string]string `json:"header"`
	Request     string            `json:"request"`
	Status      int               `json:"status"`
	ContentType string            `json:"content_type"`
	Response    string            `json:"response"`
}

func captures(t *testing.T) []capture {
	f, err := os.Open("testdata/captures.jsonl")
	require.NoError(t, err)
	defer f.Close()
	var out []capture
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c capture
		require.NoError(t, json.Unmarshal(lines.Bytes(), &c))
		out = append(out, c)
	}
	require.NoError(t, lines.Err())
	return out
}

// TestCaptures_answeredAlike replays captured requests and compares status,
// content type, the shape of JSON, error types and codes, the kinds of events,
// and metric and label names.
func TestCaptures_answeredAlike(t *testing.T) {
	details := []string{"--enable-request-id-headers", "--enable-prompt-tokens-details", "--max-model-len=2048", "--block-size=32"}
	servers := map[string]*sim.Instance{
		"prefill": start(t, sim.Options{Role: pd.RolePrefill, Args: details}),
		"decode":  start(t, sim.Options{Role: pd.RoleDecode, Args: details}),
		"plain":   start(t, sim.Options{Args: []string{"--api-key", "sekret", "--max-model-len=2048"}}),
	}
	params := map[string]object{} // by the part of the name before the leg
	all := captures(t)
	require.Greater(t, len(all), 90)
	for _, c := range all {
		t.Run(c.Name, func(t *testing.T) {
			base, _, _ := strings.Cut(c.Name, ".")
			if strings.Contains(c.Name, ".leg2") {
				c.Request = renew(t, c, params[base])
			}
			status, contentType, body := replay(t, servers[c.Server], c)
			if strings.Contains(c.Name, ".leg1") {
				var v struct {
					P object `json:"kv_transfer_params"`
				}
				require.NoError(t, json.Unmarshal(body, &v))
				params[base] = v.P
			}
			require.Equal(t, c.Status, status, "%s", body)
			media := func(s string) string { m, _, _ := strings.Cut(s, ";"); return m }
			require.Equal(t, media(c.ContentType), media(contentType))
			compareBodies(t, c, body)
		})
	}
}

func replay(t *testing.T, in *sim.Instance, c capture) (int, string, []byte) {
	req, err := http.NewRequestWithContext(t.Context(), c.Method, in.URL()+c.Path, strings.NewReader(c.Request))
	require.NoError(t, err)
	for k, v := range c.Header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, resp.Header.Get("Content-Type"), body
}

// renew puts the parameters of this run's first leg into a captured second one.
func renew(t *testing.T, c capture, fresh object) string {
	var v object
	require.NoError(t, json.Unmarshal([]byte(c.Request), &v))
	old, ok := v["kv_transfer_params"].(object)
	if !ok {
		return c.Request
	}
	p := with(fresh)
	if strings.Contains(c.Name, "wrong_engine") {
		p["remote_engine_id"] = old["remote_engine_id"]
	}
	v["kv_transfer_params"] = p
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	return string(raw)
}

func compareBodies(t *testing.T, c capture, body []byte) {
	switch {
	case strings.Contains(c.Name, "metrics"):
		want, got := metricLabels(c.Response), metricLabels(string(body))
		for name, labels := range want {
			require.Equal(t, labels, got[name], name)
		}
		for name := range got {
			require.Contains(t, want, name)
		}
	case strings.HasPrefix(c.ContentType, "text/event-stream"):
		require.Equal(t, eventKinds([]byte(c.Response)), eventKinds(body))
	case c.ContentType == "application/json" && c.Response != "":
		var want, got any
		require.NoError(t, json.Unmarshal([]byte(c.Response), &want))
		require.NoError(t, json.Unmarshal(body, &got), "%s", body)
		require.Empty(t, shapeDiff("", want, got), "%s", body)
	default:
		require.Equal(t, len(c.Response) > 0, len(bytes.TrimSpace(body)) > 0)
	}
}

// shapeDiff compares keys and kinds, and an error's type and code by value.
func shapeDiff(path string, want, got any) []string {
	switch w := want.(type) {
	case object:
		g, ok := got.(object)
		if !ok {
			return []string{path + ": not an object"}
		}
		return objectDiff(path, w, g)
	case []any:
		g, ok := got.([]any)
		switch {
		case !ok:
			return []string{path + ": not a list"}
		case len(w) == 0 || len(g) == 0:
			return nil
		}
		return shapeDiff(path+"[]", w[0], g[0])
	}
	if a, b := fmt.Sprintf("%T", want), fmt.Sprintf("%T", got); a != b {
		return []string{path + ": " + b + ", not " + a}
	}
	if (strings.HasSuffix(path, "error.type") || strings.HasSuffix(path, "error.code")) && want != got {
		return []string{fmt.Sprintf("%s: %v, not %v", path, got, want)}
	}
	return nil
}

func objectDiff(path string, want, got object) []string {
	var out []string
	for k, v := range want {
		if _, ok := got[k]; !ok {
			out = append(out, path+"."+k+": missing")
			continue
		}
		out = append(out, shapeDiff(path+"."+k, v, got[k])...)
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			out = append(out, path+"."+k+": not vLLM's")
		}
	}
	return out
}

// eventKinds is the kinds of a stream's events in order, runs folded.
func eventKinds(body []byte) []string {
	var out []string
	for _, e := range (answer{body: body}).events() {
		if k := eventKind(e); len(out) == 0 || out[len(out)-1] != k {
			out = append(out, k)
		}
	}
	return out
}

func eventKind(data string) string {
	if data == "[DONE]" {
		return "done"
	}
	var v object
	if json.Unmarshal([]byte(data), &v) != nil {
		return "not JSON"
	}
	if v["error"] != nil {
		return "error"
	}
	choices, _ := v["choices"].([]any)
	if len(choices) == 0 {
		return "usage"
	}
	c := choices[0].(object)
	kind := "text"
	if d, ok := c["delta"].(object); ok && d["role"] != nil {
		kind = "role"
	}
	keys := []string{kind, fmt.Sprint(c["finish_reason"])}
	for k := range v {
		keys = append(keys, k)
	}
	for k := range c {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return strings.Join(keys, " ")
}

var (
	sampleLine = regexp.MustCompile(`^(vllm:[a-zA-Z0-9_:]+)\{(.*?)\}`)
	labelName  = regexp.MustCompile(`(\w+)(?:="[^"]*")?(?:,|$)`)
)

func metricLabels(text string) map[string][]string {
	sets := map[string]map[string]bool{}
	for _, line := range strings.Split(text, "\n") {
		m := sampleLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if sets[m[1]] == nil {
			sets[m[1]] = map[string]bool{}
		}
		for _, l := range labelName.FindAllStringSubmatch(m[2], -1) {
			sets[m[1]][l[1]] = true
		}
	}
	out := map[string][]string{}
	for name, set := range sets {
		for l := range set {
			out[name] = append(out[name], l)
		}
		slices.Sort(out[name])
	}
	return out
}
