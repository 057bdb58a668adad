package enginelog_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver/enginelog"
)

// tell feeds lines, one a second, and returns what was told.
func tell(lines ...string) (told []string) {
	start := time.Unix(1000, 0)
	s := enginelog.NewStory(start)
	for i, l := range lines {
		if text := s.Line(l, start.Add(time.Duration(i+1)*time.Second)); text != "" {
			told = append(told, text)
		}
	}
	return told
}

func TestStory_tellsEachPhaseOnce(t *testing.T) {
	require.Equal(t, []string{
		"Loading weights: 0 of 4 files (0%)",
		"Loaded weights: 4 of 4 files",
		"KV cache: 262,144 tokens",
		"Ready after 9s",
	}, tell(
		"INFO 11-23 10:20:11 [model_runner.py:1] Starting to load model m...",
		"Loading safetensors checkpoint shards:   0% Completed | 0/4 [00:00<?, ?it/s]",
		"Loading safetensors checkpoint shards:  50% Completed | 2/4 [00:01<00:01,  1.50it/s]",
		"Loading safetensors checkpoint shards: 100% Completed | 4/4 [00:02<00:00,  1.50it/s]",
		"Loading safetensors checkpoint shards: 100% Completed | 4/4 [00:02<00:00,  1.50it/s]",
		"(EngineCore pid=7) INFO 11-23 10:20:14 [kv_cache_utils.py:2328] GPU KV cache size: 262,144 tokens",
		"(EngineCore pid=8) INFO 11-23 10:20:14 [kv_cache_utils.py:2328] GPU KV cache size: 262,144 tokens, of which",
		"Loading safetensors checkpoint shards: soon",
		"INFO:     Application startup complete.",
		"INFO:     Application startup complete.",
		"GPU KV cache size: 1 tokens",
	))
}

func TestStory_tellsProgressSeldom(t *testing.T) {
	s := enginelog.NewStory(time.Unix(0, 0))
	n := 0
	for i := range 100 {
		line := "Loading safetensors checkpoint shards:  10% Completed | 20/200 [00:00<?, ?it/s]"
		if s.Line(line, time.Unix(int64(i), 0)) != "" {
			n++
		}
	}
	require.Equal(t, 4, n, "in 100 s")
}
