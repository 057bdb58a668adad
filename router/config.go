package router

import (
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/router/admit"
	"github.com/nomad-vllm/nomad-vllm/router/breaker"
	"github.com/nomad-vllm/nomad-vllm/router/choose"
	"github.com/nomad-vllm/nomad-vllm/router/trace"
)

// Source says who is there.
type Source interface {
	// Snapshot is the last good view, nil until there is one.
	Snapshot() *fleet.Snapshot
	// LastError is why the view cannot be refreshed, nil if it can.
	LastError() error
	// Changed receives after the set of instances changed; nil if it never
	// does. Run is its one reader.
	Changed() <-chan struct{}
}

// Secret is a value that must not be printed. It is held behind a pointer,
// because fmt prints a string inside an unexported field whatever its methods.
// The zero Secret is empty.
type Secret struct{ value *string }

// NewSecret hides a value.
func NewSecret(value string) Secret { return Secret{&value} }

// String says only whether there is a value.
func (s Secret) String() string {
	if s.Reveal() == "" {
		return ""
	}
	return "[redacted]"
}

// Reveal is the value itself, for the one place that sends it.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Config is what a Server is made of.
type Config struct {
	Source Source
	Logger hclog.Logger
	// LogFields passes each request's line to Logger as fields, which a log in
	// JSON needs, rather than as text in the same form, which costs less.
	LogFields bool
	// MaxBody is the largest request body in bytes, default 32 MiB.
	MaxBody int64
	// PrefillTries is how many prefills are tried for one handoff before the
	// request goes the local way, default 3. Refused connections do not count.
	PrefillTries int
	// PrefillTimeout bounds leg 1, default 2 min: a prefill that hangs must
	// not hold its requests for ever.
	PrefillTimeout time.Duration
	// FirstTokenTimeout bounds the time until a decode's stream has its first
	// token, default 5 min: it may have to wait for room. AnswerTimeout bounds
	// an answer that is no stream, default 30 min; nothing is heard of it before
	// it is whole.
	FirstTokenTimeout, AnswerTimeout time.Duration
	// StallTimeout is how long a stream may stand still after its first token,
	// default 1 min. vLLM's API process can outlive its engine and say nothing.
	StallTimeout time.Duration
	// NoFallback fails requests whose handoff failed for good, or for which
	// there is no prefill, instead of having a decode serve them alone.
	NoFallback bool
	// DialTimeout bounds connecting to an instance, default 2 s.
	DialTimeout time.Duration
	// UpstreamCAs are who may have signed the certificates of https instances;
	// nil for the system's.
	UpstreamCAs *x509.CertPool
	// Choose says how instances are chosen; its zero value is the default.
	Choose choose.Config
	// LocalBelow is the length of a prompt, less what is cached, in bytes, below
	// which a decode computes it itself. 0: never; choose.Learn: from measured
	// times.
	LocalBelow int
	// Breaker says when an instance is kept away from; zero is the default.
	Breaker breaker.Config
	// Tracer tells how requests went; nil: nobody.
	Tracer *trace.Tracer
	// Keys are the clients' keys; none: whoever asks is served. With keys a
	// client's Authorization is not passed on to the instances.
	Keys []admit.Key
	// Limits bound what runs and what waits; the zero Limits bound only what
	// waits, of which there is none then.
	Limits admit.Limits
	// InstanceWait is how long a request waits for the first instance where
	// there is none. 0: not at all.
	InstanceWait time.Duration
	// BodyTimeout bounds the time in which a client sends its body, default 1
	// min; WriteTimeout the time in which it takes nothing of its answer,
	// default 1 min.
	BodyTimeout, WriteTimeout time.Duration
	// UpstreamAPIKey replaces the client's Authorization on both legs. Empty:
	// the client's is passed on.
	UpstreamAPIKey Secret
}

// Default values of Config.
const (
	DefaultMaxBody        = 32 << 20
	DefaultPrefillTries   = 3
	DefaultPrefillTimeout = 2 * time.Minute
	DefaultDialTimeout    = 2 * time.Second

	DefaultFirstTokenTimeout = 5 * time.Minute
	DefaultAnswerTimeout     = 30 * time.Minute
	DefaultStallTimeout      = time.Minute
	DefaultBodyTimeout       = time.Minute
	DefaultWriteTimeout      = time.Minute
)

// complete fills in the defaults.
func (c *Config) complete() {
	if c.MaxBody == 0 {
		c.MaxBody = DefaultMaxBody
	}
	if c.PrefillTries == 0 {
		c.PrefillTries = DefaultPrefillTries
	}
	if c.PrefillTimeout == 0 {
		c.PrefillTimeout = DefaultPrefillTimeout
	}
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&c.DialTimeout, DefaultDialTimeout}, {&c.FirstTokenTimeout, DefaultFirstTokenTimeout},
		{&c.AnswerTimeout, DefaultAnswerTimeout}, {&c.StallTimeout, DefaultStallTimeout},
		{&c.BodyTimeout, DefaultBodyTimeout}, {&c.WriteTimeout, DefaultWriteTimeout},
	} {
		if *d.value == 0 {
			*d.value = d.def
		}
	}
}

// Validate reports every problem at once. Zero means the default and is fine.
func (c *Config) Validate() error {
	var errs []error
	atLeast := func(name string, ok bool, value, want any) {
		if !ok {
			errs = append(errs, fmt.Errorf("%s is %v; want at least %v", name, value, want))
		}
	}
	atLeast("largest request body", c.MaxBody == 0 || c.MaxBody >= 1024, c.MaxBody, "1024 bytes")
	atLeast("prefill tries", c.PrefillTries >= 0, c.PrefillTries, 1)
	atLeast("prefill timeout", c.PrefillTimeout == 0 || c.PrefillTimeout >= 10*time.Millisecond, c.PrefillTimeout, "10ms")
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"dial timeout", c.DialTimeout}, {"first token timeout", c.FirstTokenTimeout},
		{"answer timeout", c.AnswerTimeout}, {"stall timeout", c.StallTimeout},
		{"body timeout", c.BodyTimeout}, {"write timeout", c.WriteTimeout},
	} {
		atLeast(d.name, d.value == 0 || d.value >= 10*time.Millisecond, d.value, "10ms")
	}
	return errors.Join(errs...)
}
