package sim

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"
)

// logger writes lines in the shape of vLLM's log.
type logger struct {
	mu  sync.Mutex
	out io.Writer
}

func newLogger(out io.Writer) *logger { return &logger{out: out} }

// printf writes a line; the format starts with the level.
func (l *logger) printf(format string, args ...any) {
	line := fmt.Sprintf(format, args...)
	level, rest := "INFO", line
	for _, known := range []string{"INFO", "WARNING", "ERROR"} {
		if len(line) > len(known) && line[:len(known)+1] == known+" " {
			level, rest = known, line[len(known)+1:]
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintf(l.out, "%s %s [sim] %s\n", level, time.Now().Format("01-02 15:04:05"), rest)
}

func (l *logger) std() *log.Logger { return log.New(writer{l}, "", 0) }

type writer struct{ l *logger }

func (w writer) Write(p []byte) (int, error) {
	w.l.printf("WARNING %s", p)
	return len(p), nil
}

func (in *Instance) announce() {
	c := in.st.serve
	in.log.printf("INFO vLLM API server version %s (simulated, pid %d)", in.st.version, os.Getpid())
	in.log.printf("INFO model %s, served as %v, profile %s, max_model_len %d, block_size %d", c.Model, c.ServedNames, in.st.profile.Name, c.MaxModelLen, c.BlockSize)
	if kv := c.KV; kv != nil {
		in.log.printf("INFO KV connector %s, role %s", kv.Connector, kv.Role)
		if kv.Nixl() == nil {
			in.log.printf("WARNING KV connector %s is accepted and not simulated: there will be no handoff", kv.Connector)
		}
	}
}

// load takes the profile's load time and says how far it is, in vLLM's phases.
func (in *Instance) load(ctx context.Context) error {
	const shards = 4
	total := in.st.profile.Load
	in.log.printf("INFO Starting to load model %s...", in.st.serve.Model)
	for i := 1; i <= shards; i++ {
		if err := pause(ctx, total*8/10/shards); err != nil {
			return err
		}
		in.log.printf("INFO Loading safetensors checkpoint shards: %3d%% Completed | %d/%d", 100*i/shards, i, shards)
	}
	in.log.printf("INFO Model loading took %.2f seconds", (total * 8 / 10).Seconds())
	if err := pause(ctx, total*2/10); err != nil {
		return err
	}
	c := in.st.serve
	room := c.NumBlocks * c.BlockSize
	in.log.printf("INFO GPU KV cache size: %s tokens", grouped(room))
	in.log.printf("INFO Maximum concurrency for %s tokens per request: %.2fx", grouped(c.MaxModelLen), float64(room)/float64(c.MaxModelLen))
	if in.sidePort != 0 {
		in.log.printf("INFO NIXL side channel on %s port %d, engine id %s", in.st.sideHost, in.sidePort, in.engineID)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("load model: %w", ctx.Err())
	}
}

// grouped prints a number with commas.
func grouped(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// fingerprint follows the settings, so that two alike servers show the same.
func (st *settings) fingerprint() string {
	c := st.serve
	name := fmt.Sprint(c.Model, c.MaxModelLen, c.BlockSize, c.TPSize, c.KV != nil)
	return uuid.NewSHA1(uuid.NameSpaceOID, []byte(name)).String()[:8]
}

// cacheInfo is the labels of vllm:cache_config_info.
func (st *settings) cacheInfo() []string {
	c := st.serve
	room := c.NumBlocks * c.BlockSize
	py := map[bool]string{true: "True", false: "False"}
	out := []string{
		"block_size", fmt.Sprint(c.BlockSize), "effective_attention_block_size", fmt.Sprint(c.BlockSize),
		"num_gpu_blocks", fmt.Sprint(c.NumBlocks), "kv_cache_size_tokens", fmt.Sprint(room),
		"kv_cache_max_concurrency", fmt.Sprintf("%.1f", float64(room)/float64(c.MaxModelLen)),
		"kv_cache_memory_bytes", fmt.Sprint(c.KVCacheBytes), "enable_prefix_caching", py[c.PrefixCaching],
		"gpu_memory_utilization", fmt.Sprint(c.MemoryShare), "cache_dtype", "auto", "prefix_caching_hash_algo", "sha256",
		"kv_offloading_backend", "native", "mamba_cache_dtype", "auto", "mamba_cache_mode", "none", "mamba_ssm_cache_dtype", "float32",
		"kv_cache_dtype_skip_layers", "[]", "prefix_cache_retention_interval", "0", "replayssm_buffer_len", "16",
	}
	for _, name := range []string{"_block_size_resolved", "swa_bounded_replay", "user_specified_block_size"} {
		out = append(out, name, "True")
	}
	for _, name := range []string{"enable_mamba_shared_prefix_checkpoint", "is_attention_free", "kv_sharing_fast_prefill", "use_kda_recoverssm", "use_replayssm"} {
		out = append(out, name, "False")
	}
	for _, name := range []string{"cache_hit_alignment_tokens", "hash_block_size", "kv_cache_layout", "kv_offloading_size", "mamba_block_size",
		"mamba_page_size_padded", "num_cpu_blocks", "num_gpu_blocks_override", "prefix_match_unit", "skip_page_size_padded", "sliding_window"} {
		out = append(out, name, "None")
	}
	return out
}
