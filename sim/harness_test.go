package sim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/sim"
)

const patience = 10 * time.Second

func start(t *testing.T, o sim.Options) *sim.Instance {
	t.Helper()
	if o.Model == "" {
		o.Model = "tiny"
	}
	in, err := sim.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(in.Close)
	return in
}

func pair(t *testing.T, args ...string) (prefill, decode *sim.Instance) {
	t.Helper()
	return start(t, sim.Options{Role: pd.RolePrefill, Args: args}), start(t, sim.Options{Role: pd.RoleDecode, Args: args})
}

type object = map[string]any

func with(o object, more ...any) object {
	out := object{}
	for k, v := range o {
		out[k] = v
	}
	for i := 0; i+1 < len(more); i += 2 {
		out[more[i].(string)] = more[i+1]
	}
	return out
}

func without(o object, key string) object {
	out := with(o)
	delete(out, key)
	return out
}

// chat is a request of a few blocks; prompts with names of equal length are
// equally long.
func chat(name string, more ...any) object {
	text := "case " + name + strings.Repeat(" the prefill reads the prompt and the decode writes the answer", 8)
	return with(object{"model": "tiny", "messages": []object{{"role": "user", "content": text}}, "max_tokens": 12, "temperature": 0}, more...)
}

func completion(name string, more ...any) object {
	return with(object{"model": "tiny", "prompt": "case " + name + strings.Repeat(" and so on", 40), "max_tokens": 12, "temperature": 0}, more...)
}

const (
	chatPath       = "/v1/chat/completions"
	completionPath = "/v1/completions"
)

type answer struct {
	status int
	body   []byte
	header http.Header
	took   time.Duration
}

func (a answer) json(t *testing.T) object {
	t.Helper()
	var v object
	require.NoError(t, json.Unmarshal(a.body, &v), "%s", a.body)
	return v
}

// text is the generated text, streamed or not.
func (a answer) text(t *testing.T) string {
	t.Helper()
	require.Equal(t, http.StatusOK, a.status, "%s", a.body)
	if !strings.HasPrefix(a.header.Get("Content-Type"), "text/event-stream") {
		return choiceText(a.json(t))
	}
	out := ""
	for _, e := range a.events() {
		var v object
		if json.Unmarshal([]byte(e), &v) == nil {
			out += choiceText(v)
		}
	}
	return out
}

func choiceText(v object) string {
	choices, _ := v["choices"].([]any)
	if len(choices) == 0 {
		return ""
	}
	c := choices[0].(object)
	for _, key := range []string{"message", "delta"} {
		if m, ok := c[key].(object); ok {
			return m["content"].(string)
		}
	}
	return c["text"].(string)
}

func (a answer) events() []string {
	var out []string
	for _, line := range strings.Split(string(a.body), "\n") {
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			out = append(out, data)
		}
	}
	return out
}

func (a answer) params(t *testing.T) object {
	t.Helper()
	require.Equal(t, http.StatusOK, a.status, "%s", a.body)
	p, _ := a.json(t)["kv_transfer_params"].(object)
	require.NotNil(t, p)
	return p
}

func request(ctx context.Context, in *sim.Instance, method, path string, body any) (*http.Response, error) {
	var r io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, in.URL()+path, r)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	tr := &http.Transport{DisableKeepAlives: true}
	defer tr.CloseIdleConnections()
	return (&http.Client{Transport: tr}).Do(req)
}

func post(t *testing.T, in *sim.Instance, path string, body any) answer {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	begin := time.Now()
	resp, err := request(ctx, in, http.MethodPost, path, body)
	require.NoError(t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answer{resp.StatusCode, raw, resp.Header, time.Since(begin)}
}

func get(t *testing.T, in *sim.Instance, path string) answer {
	t.Helper()
	resp, err := request(t.Context(), in, http.MethodGet, path, nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return answer{status: resp.StatusCode, body: raw, header: resp.Header}
}

var ask = object{
	"do_remote_decode": true, "do_remote_prefill": false, "remote_engine_id": nil,
	"remote_block_ids": nil, "remote_host": nil, "remote_port": nil,
}

// leg1 runs a request's first leg and returns the parameters for the second.
func leg1(t *testing.T, prefill *sim.Instance, path string, req object) object {
	t.Helper()
	return post(t, prefill, path, with(without(without(req, "stream"), "stream_options"), "max_tokens", 1, "kv_transfer_params", ask)).params(t)
}

// aggregated is the text that an instance of its own computes.
func aggregated(t *testing.T, path string, req object) string {
	t.Helper()
	return post(t, start(t, sim.Options{}), path, req).text(t)
}

func eventually(t *testing.T, condition func() bool, msg string) {
	t.Helper()
	require.Eventually(t, condition, patience, 5*time.Millisecond, msg)
}

func ended(in *sim.Instance) bool {
	select {
	case <-in.Done():
		return true
	default:
		return false
	}
}

// metric sums the samples of a name whose labels contain the given text.
func metric(t *testing.T, in *sim.Instance, name, labels string) float64 {
	t.Helper()
	sum := 0.0
	for _, line := range strings.Split(string(get(t, in, "/metrics").body), "\n") {
		rest, ok := strings.CutPrefix(line, name+"{")
		if !ok || !strings.Contains(rest, labels) {
			continue
		}
		var v float64
		_, value, _ := strings.Cut(rest, "} ")
		require.NoError(t, json.Unmarshal([]byte(strings.TrimSuffix(value, ".0")), &v), line)
		sum += v
	}
	return sum
}
