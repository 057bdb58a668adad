package driver

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// What vLLM 0.32's own parser did with each of these.
func TestSpells_likeVLLMsParser(t *testing.T) {
	for _, c := range []struct{ arg, flag string }{
		{"--trust-remote-code", "--trust-remote-code"},
		{"--trust_remote_code", "--trust-remote-code"},
		{"--trust_remote_code=1", "--trust-remote-code"},
		{"--trust-rem", "--trust-remote-code"},
		{"--trust_remote", "--trust-remote-code"},
		{"--por=8100", "--port"},
		{"--kv_transfer_config.kv_role", "--kv-transfer-config"},
		{"--kv-transfer-config.backends+", "--kv-transfer-config"},
		{"--kv-tr.kv_role=x", "--kv-transfer-config"},
		{"-tp=4", "--tensor-parallel-size"},
		{"-tp", "--tensor-parallel-size"},
		{"--tensor_parallel", "--tensor-parallel-size"},
		{"-qawq", "--quantization"},
		{"-O3", "--optimization-level"},
		{"-O3", "--compilation-config"},
		{"-cc.mode=3", "--compilation-config"},
		{"-as", "--api-server-count"},
		{"--device-mem", "--gpu-memory-utilization"},
		{"--data-parallel-size", "--data-parallel-size"},
		{"--data-parallel", "--data-parallel-size-local"}, // of many: refused by vLLM anyway
	} {
		require.True(t, spells(c.arg, c.flag), "%s is %s", c.arg, c.flag)
	}
	for _, c := range []struct{ arg, flag string }{
		{"trust-remote-code", "--trust-remote-code"},
		{"--no-trust-remote-code", "--trust-remote-code"},
		{"--trust-remote-codes", "--trust-remote-code"},
		{"--", "--trust-remote-code"},
		{"-", "--quantization"},
		{"-1", "--quantization"},
		{"--model", "--model-impl"},
		{"--config", "--config-format"},
		{"--tokenizer=x", "--tokenizer-mode"},
		{"--data-parallel-size", "--data-parallel-size-local"},
		{"-dp", "--data-parallel-size-local"},
		{"-tp", "--pipeline-parallel-size"},
		{"--port", "--grpc-port"},
	} {
		require.False(t, spells(c.arg, c.flag), "%s is not %s", c.arg, c.flag)
	}
}

// The engine would take the last one, while Nomad and the peers go by the first.
func TestPlan_ownedFlagsAreFoundInEverySpelling(t *testing.T) {
	for _, c := range []struct{ arg, owner string }{
		{"--por=81", `port = "http"`},
		{"--hos", `port label "http"`},
		{"--kv-transfer.kv_role", "the kv_transfer block"},
		{"-tp=4", "tensor_parallel_size = 2"},
		{"--tensor-par=4", "tensor_parallel_size = 2"},
	} {
		_, err := newPlan(good(func(s *situation) {
			s.Task.Args, s.Task.TensorParallelSize, s.GPUs = []string{c.arg, "4"}, 2, gpus{2, "0,1"}
		}))
		require.ErrorContains(t, err, c.arg)
		require.ErrorContains(t, err, c.owner+"; remove it from args")
	}
}
