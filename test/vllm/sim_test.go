//go:build vllm

package vllm

import (
	"testing"
	"time"
)

func startSimulators(t *testing.T, command string) (prefill, decode *server) {
	t.Helper()
	prefill = startServer(t, command, "prefill", nil, []string{"--enable-request-id-headers", "--enable-prompt-tokens-details"})
	decode = startServer(t, command, "decode", nil, nil)
	prefill.waitHealthy(t, time.Minute)
	decode.waitHealthy(t, time.Minute)
	return prefill, decode
}

// TestSimulator_answersAsRecorded holds the simulator to what real vLLM
// answered, on machines where the real one is not installed.
func TestSimulator_answersAsRecorded(t *testing.T) {
	prefill, decode := startSimulators(t, buildCommand(t, "cmd/vllm-sim"))
	t.Run("meaning", func(t *testing.T) { checkMeaning(t, prefill, decode) })
	compareAll(t, readRecording(t), runAll(prefill, decode))
}
