package metrics

// Engine is the metrics of one vLLM engine. The fields are families; labels
// beyond engine and model_name are given through With.
type Engine struct {
	base []string

	XferTime, PostTime, Bytes, Descriptors                      *Family
	FailedTransfers, FailedNotifications, Expired, AfterExpiry  *Family
	Running, Waiting, WaitingByReason, FetchByStage, KVUsage    *Family
	PrefixQueries, PrefixHits, ExternalQueries, ExternalHits    *Family
	Preemptions, PromptTokens, BySource, Cached, CachedBySource *Family
	GenerationTokens, Success                                   *Family
	ReqPrompt, ReqGeneration, Iteration, ReqMaxGeneration       *Family
	ParamsN, ParamsMax, TTFT, ITL, TPOT, E2E                    *Family
	QueueTime, InferenceTime, PrefillTime, DecodeTime           *Family
	ReqPreemptions, PrefillComputed                             *Family
}

// Shape says which families an engine has.
type Shape struct {
	Model       string
	MaxModelLen int
	Connector   bool
	// Fetches: the engine may load KV from others; its role is not producer only.
	Fetches bool
	// CacheInfo is the labels of vllm:cache_config_info.
	CacheInfo []string
}

// NewEngine declares an engine's families in a registry, each with the series
// that vLLM exports before the first request.
func NewEngine(r *Registry, s Shape) *Engine {
	e := &Engine{base: []string{"engine", "0", "model_name", s.Model}}
	if s.Connector {
		e.declareTransfer(r)
	}
	for _, name := range []string{"flops", "read_bytes", "write_bytes"} {
		e.counter(r, "estimated_"+name+"_per_gpu", "Estimate of work done by one device.")
	}
	e.declareScheduler(r, s)
	e.declareTokens(r)
	e.declareRequests(r, s)
	e.declareLatency(r, oneTwoFive(s.MaxModelLen))
	info := r.family("vllm:cache_config_info", "Settings of the KV cache.", gauge, nil)
	info.Set(1, append([]string{"engine", "0"}, s.CacheInfo...)...)
	return e
}

// With is the labels of a series: the engine's own and the given pairs.
func (e *Engine) With(labels ...string) []string {
	return append(append(make([]string, 0, len(e.base)+len(labels)), e.base...), labels...)
}

// Add raises a counter.
func (e *Engine) Add(f *Family, v float64, labels ...string) {
	if f != nil && v != 0 {
		f.Add(v, e.With(labels...)...)
	}
}

// Set sets a gauge.
func (e *Engine) Set(f *Family, v float64, labels ...string) {
	if f != nil {
		f.Set(v, e.With(labels...)...)
	}
}

// Observe puts a value into a histogram.
func (e *Engine) Observe(f *Family, v float64) {
	if f != nil {
		f.Observe(v, e.base...)
	}
}

// Value reads one series.
func (e *Engine) Value(f *Family, labels ...string) float64 {
	if f == nil {
		return 0
	}
	return f.Value(e.With(labels...)...)
}

func (e *Engine) counter(r *Registry, name, help string) *Family {
	f := r.family("vllm:"+name, help, counter, nil)
	f.Add(0, e.base...)
	return f
}

func (e *Engine) gauge(r *Registry, name, help string) *Family {
	f := r.family("vllm:"+name, help, gauge, nil)
	f.Set(0, e.base...)
	return f
}

func (e *Engine) hist(r *Registry, name, help string, buckets []float64) *Family {
	f := r.family("vllm:"+name, help, histogram, buckets)
	r.mu.Lock()
	f.at(e.base)
	r.mu.Unlock()
	return f
}

// labelled declares a family with one more label and all its values.
func (e *Engine) labelled(r *Registry, name, help string, k kind, label string, values ...string) *Family {
	f := r.family("vllm:"+name, help, k, nil)
	for _, v := range values {
		f.Add(0, e.With(label, v)...)
	}
	return f
}
