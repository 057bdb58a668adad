package engine

import (
	"errors"
	"time"

	"github.com/nomad-vllm/nomad-vllm/sim/metrics"
	"github.com/nomad-vllm/nomad-vllm/sim/profile"
	"github.com/nomad-vllm/nomad-vllm/sim/sidechannel"
)

// Config is what an engine is made from.
type Config struct {
	Profile          profile.Profile
	BlockSize        int // tokens
	NumBlocks        int
	MaxNumSeqs       int
	MaxBatchedTokens int
	PrefixCaching    bool
	Connector        *Connector // nil: the engine takes no part in handoffs
	Metrics          *metrics.Engine
	// Logf writes a line to the engine's log.
	Logf func(format string, args ...any)
	// OnDeath is called once, from the loop, when a request kills the engine.
	// It must not wait for the engine.
	OnDeath func(reason string)
}

// Connector is the NIXL connector's part of the configuration.
type Connector struct {
	EngineID string
	// Host and Port are advertised to decodes, verbatim.
	Host string
	Port int
	// Lease is how long a finished prefill keeps its blocks for a decode that
	// gives no sign of life.
	Lease time.Duration
	// Recompute makes the decode compute a prompt whose KV could not be
	// loaded, instead of failing the request.
	Recompute bool
	// TPSize is advertised.
	TPSize int
	Dial   sidechannel.DialFunc
}

// Errors of a request, by how the API server words them.
var (
	// ErrLoad: the request's KV could not be loaded.
	ErrLoad = errors.New("KV load failed")
	// ErrDead: the engine is gone, killed by this request or another.
	ErrDead = errors.New("engine is dead")
)
