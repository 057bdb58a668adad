package vllm

import (
	"testing"
	"time"
)

// flagsOfPrefill make the prefill answer with what a plain server leaves out,
// so that the scenarios see both ways.
func flagsOfPrefill() []string {
	return []string{"--enable-request-id-headers", "--enable-prompt-tokens-details"}
}

func startSimulators(t *testing.T, command string) (prefill, decode *server) {
	t.Helper()
	prefill = startServer(t, command, "prefill", flagsOfPrefill()...)
	decode = startServer(t, command, "decode")
	prefill.waitHealthy(t, time.Minute)
	decode.waitHealthy(t, time.Minute)
	return prefill, decode
}

// TestSimulator_answersAsRecorded holds the simulator to what real vLLM
// answered, and runs what needs no comparison as well, on machines where the
// real one is not installed.
func TestSimulator_answersAsRecorded(t *testing.T) {
	prefill, decode := startSimulators(t, buildCommand(t, "cmd/vllm-sim"))
	t.Run("meaning", func(t *testing.T) { checkMeaning(t, prefill, decode) })
	t.Run("router", func(t *testing.T) { checkRouter(t, prefill, decode) })
	t.Run("load", func(t *testing.T) { checkLoad(t, decode) })
	compareAll(t, readRecording(t), runAll(prefill, decode))
}
