package serve

import (
	"strconv"
	"time"
)

// kind of a flag's value.
type kind int

const (
	text kind = iota
	list      // one or more values
	whole
	ratio
	toggle // --x and --no-x
	object // JSON, or --x.key value
)

// flag is one flag of `vllm serve`; set is nil for those that make no
// difference to a simulator.
type flag struct {
	kind kind
	set  func(c *Config, v string) error
}

func ints(field func(*Config) *int) func(*Config, string) error {
	return func(c *Config, v string) error {
		n, err := strconv.Atoi(v)
		*field(c) = n
		return err
	}
}

func toggles(field func(*Config) *bool) func(*Config, string) error {
	return func(c *Config, v string) error {
		*field(c) = v == "true"
		return nil
	}
}

// flags knows those that matter here and the others that a job is likely to
// pass, so that their values are not taken for something else.
func flags() map[string]flag {
	m := map[string]flag{
		"host":                            {text, func(c *Config, v string) error { c.Host = v; return nil }},
		"port":                            {whole, ints(func(c *Config) *int { return &c.Port })},
		"model":                           {text, func(c *Config, v string) error { c.Model = v; return nil }},
		"served-model-name":               {list, func(c *Config, v string) error { c.ServedNames = append(c.ServedNames, v); return nil }},
		"api-key":                         {list, func(c *Config, v string) error { c.APIKeys = append(c.APIKeys, v); return nil }},
		"max-model-len":                   {text, setMaxModelLen},
		"max-num-seqs":                    {whole, ints(func(c *Config) *int { return &c.MaxNumSeqs })},
		"max-num-batched-tokens":          {whole, ints(func(c *Config) *int { return &c.MaxBatchedTokens })},
		"block-size":                      {whole, ints(func(c *Config) *int { return &c.BlockSize })},
		"tensor-parallel-size":            {whole, ints(func(c *Config) *int { return &c.TPSize })},
		"pipeline-parallel-size":          {whole, ints(func(c *Config) *int { return &c.PPSize })},
		"data-parallel-size":              {whole, ints(func(c *Config) *int { return &c.DPSize })},
		"data-parallel-rank":              {whole, ints(func(c *Config) *int { return &c.DPRank })},
		"num-gpu-blocks-override":         {whole, ints(func(c *Config) *int { return &c.NumBlocks })},
		"kv-cache-memory-bytes":           {text, setKVCacheBytes},
		"gpu-memory-utilization":          {ratio, setMemoryShare},
		"shutdown-timeout":                {ratio, setShutdownTimeout},
		"seed":                            {whole, func(c *Config, v string) (err error) { c.Seed, err = strconv.ParseInt(v, 10, 64); return err }},
		"enable-prefix-caching":           {toggle, toggles(func(c *Config) *bool { return &c.PrefixCaching })},
		"enable-request-id-headers":       {toggle, toggles(func(c *Config) *bool { return &c.RequestIDHeaders })},
		"enable-prompt-tokens-details":    {toggle, toggles(func(c *Config) *bool { return &c.PromptTokensDetails })},
		"enable-server-load-tracking":     {toggle, toggles(func(c *Config) *bool { return &c.LoadTracking })},
		"enable-force-include-usage":      {toggle, toggles(func(c *Config) *bool { return &c.ForceIncludeUsage })},
		"kv-transfer-config":              {object, nil},
		"compilation-config":              {object, nil},
		"speculative-config":              {object, nil},
		"kv-events-config":                {object, nil},
		"hf-overrides":                    {object, nil},
		"override-generation-config":      {object, nil},
		"limit-mm-per-prompt":             {object, nil},
		"allowed-origins":                 {object, nil},
		"additional-config":               {object, nil},
		"data-parallel-size-local":        {whole, nil},
		"data-parallel-rpc-port":          {whole, nil},
		"api-server-count":                {whole, nil},
		"swap-space":                      {ratio, nil},
		"cpu-offload-gb":                  {ratio, nil},
		"kv-offloading-size":              {ratio, nil},
		"max-seq-len-to-capture":          {whole, nil},
		"max-logprobs":                    {whole, nil},
		"optimization-level":              {text, nil},
		"middleware":                      {list, nil},
		"enable-lora":                     {toggle, toggles(func(c *Config) *bool { return &c.EnableLoRA })},
		"lora-modules":                    {list, addLoRA},
		"max-loras":                       {whole, nil},
		"max-lora-rank":                   {whole, nil},
		"max-cpu-loras":                   {whole, nil},
		"allowed-local-media-path":        {text, nil},
		"enable-auto-tool-choice":         {toggle, nil},
		"disable-hybrid-kv-cache-manager": {toggle, nil},
	}
	for _, name := range textFlags {
		m[name] = flag{text, nil}
	}
	for _, name := range toggleFlags {
		m[name] = flag{toggle, nil}
	}
	return m
}

var textFlags = [...]string{
	"dtype", "quantization", "tokenizer", "tokenizer-mode", "revision", "code-revision", "tokenizer-revision", "hf-config-path", "hf-token",
	"load-format", "download-dir", "config-format", "kv-cache-dtype", "distributed-executor-backend", "data-parallel-address",
	"data-parallel-backend", "uvicorn-log-level", "chat-template", "chat-template-content-format", "response-role", "root-path",
	"ssl-keyfile", "ssl-certfile", "ssl-ca-certs", "uds", "tool-call-parser", "reasoning-parser", "generation-config", "runner", "task",
	"convert", "scheduling-policy", "kv-offloading-backend", "attention-backend", "prefix-caching-hash-algo", "guided-decoding-backend",
	"config", "device", "lora-dtype", "otlp-traces-endpoint", "model-impl", "worker-cls", "logits-processor-pattern", "stream-interval", "long-prefill-token-threshold",
	"max-parallel-loading-workers", "moe-backend", "all2all-backend", "nnodes", "node-rank", "master-addr", "master-port",
	"prefill-context-parallel-size", "decode-context-parallel-size", "max-num-partial-prefills", "h11-max-header-count", "h11-max-incomplete-event-size",
}

var toggleFlags = [...]string{
	"trust-remote-code", "enforce-eager", "disable-log-stats", "enable-log-requests", "disable-log-requests", "enable-chunked-prefill",
	"async-scheduling", "fully-sharded-loras", "enable-expert-parallel", "enable-sleep-mode", "disable-uvicorn-access-log", "disable-fastapi-docs",
	"enable-ssl-refresh", "headless", "allow-credentials", "skip-tokenizer-init", "enable-eplb", "data-parallel-hybrid-lb",
	"data-parallel-external-lb", "enable-prompt-embeds", "calculate-kv-scales", "use-tqdm-on-load", "disable-custom-all-reduce",
	"disable-cascade-attn", "enable-log-outputs", "tokens-only", "enable-tokenizer-info-endpoint", "log-error-stack", "return-tokens-as-token-ids",
	"enable-log-deltas", "trust-request-chat-template", "kv-sharing-fast-prefill", "enable-dbo", "language-model-only",
}

// aliases are the short spellings.
func aliases() map[string]string {
	return map[string]string{
		"tp": "tensor-parallel-size", "pp": "pipeline-parallel-size", "dp": "data-parallel-size", "q": "quantization", "r": "nnodes",
		"dpr": "data-parallel-rank", "dpl": "data-parallel-size-local", "dpa": "data-parallel-address", "dpp": "data-parallel-rpc-port",
		"dpb": "data-parallel-backend", "ep": "enable-expert-parallel", "O": "optimization-level", "cc": "compilation-config",
		"asc": "api-server-count", "sc": "speculative-config", "n": "nnodes",
		"dcp": "decode-context-parallel-size", "pcp": "prefill-context-parallel-size",
	}
}

func setMaxModelLen(c *Config, v string) error {
	if v == "auto" || v == "-1" {
		c.MaxModelLen = 0
		return nil
	}
	n, err := humanInt(v)
	c.MaxModelLen = int(n)
	return err
}

func setKVCacheBytes(c *Config, v string) (err error) {
	c.KVCacheBytes, err = humanInt(v)
	return err
}

func setMemoryShare(c *Config, v string) (err error) {
	c.MemoryShare, err = strconv.ParseFloat(v, 64)
	return err
}

func setShutdownTimeout(c *Config, v string) error {
	s, err := strconv.ParseFloat(v, 64)
	c.ShutdownTimeout = time.Duration(s * float64(time.Second))
	return err
}

// humanInt reads 2048, 2k (thousands), 2K (times 1024), 1.5M and so on.
func humanInt(v string) (int64, error) {
	unit := int64(1)
	if n := len(v); n > 0 {
		switch v[n-1] {
		case 'k':
			unit = 1000
		case 'K':
			unit = 1 << 10
		case 'm':
			unit = 1_000_000
		case 'M':
			unit = 1 << 20
		case 'g':
			unit = 1_000_000_000
		case 'G':
			unit = 1 << 30
		}
		if unit > 1 {
			f, err := strconv.ParseFloat(v[:n-1], 64)
			return int64(f * float64(unit)), err
		}
	}
	return strconv.ParseInt(v, 10, 64)
}
