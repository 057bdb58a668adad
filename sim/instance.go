package sim

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/nomad-vllm/nomad-vllm/sim/api"
	"github.com/nomad-vllm/nomad-vllm/sim/engine"
	"github.com/nomad-vllm/nomad-vllm/sim/metrics"
	"github.com/nomad-vllm/nomad-vllm/sim/sidechannel"
)

// Instance is one running server.
type Instance struct {
	st       *settings
	engineID string
	url      string
	side     *sidechannel.Server
	sidePort int
	engine   *engine.Engine
	metrics  *metrics.Engine
	api      *api.Server
	http     *http.Server
	log      *logger

	code atomic.Int32 // the process's exit code
	end  sync.Once
	done chan struct{}
	dead chan struct{} // the engine died of a request
	wg   sync.WaitGroup
}

// Start starts an instance in this process and returns when it answers.
func Start(ctx context.Context, o Options) (*Instance, error) {
	st, err := o.settings()
	if err != nil {
		return nil, err
	}
	return start(ctx, st)
}

func start(ctx context.Context, st *settings) (*Instance, error) {
	in := &Instance{st: st, done: make(chan struct{}), dead: make(chan struct{}), log: newLogger(st.log)}
	in.announce()
	port, err := bind(st.serve.Host, st.serve.Port)
	if err != nil {
		return nil, fmt.Errorf("API server: %w", err)
	}
	if err := in.startEngine(); err != nil {
		port.close()
		return nil, err
	}
	if err := in.load(ctx); err != nil {
		port.close()
		in.Kill()
		return nil, err
	}
	ln, err := port.listen()
	if err != nil {
		in.Kill()
		return nil, fmt.Errorf("API server: %w", err)
	}
	in.serve(ln)
	return in, nil
}

// startEngine binds the side channel and starts the engine behind it.
func (in *Instance) startEngine() error {
	st := in.st
	reg := metrics.NewRegistry(time.Now())
	nixl := st.serve.KV.Nixl()
	in.metrics = metrics.NewEngine(reg, metrics.Shape{
		Model: st.serve.ServedNames[0], MaxModelLen: st.serve.MaxModelLen, Connector: nixl != nil,
		Fetches: st.serve.KV != nil && st.serve.KV.Fetches(), CacheInfo: st.cacheInfo(),
	})
	var ln net.Listener
	cfg := engine.Config{
		Profile: st.profile, BlockSize: st.serve.BlockSize, NumBlocks: st.serve.NumBlocks, MaxNumSeqs: st.serve.MaxNumSeqs,
		MaxBatchedTokens: st.serve.MaxBatchedTokens, PrefixCaching: st.serve.PrefixCaching, Metrics: in.metrics,
		Logf: in.log.printf, OnDeath: func(string) { close(in.dead) },
	}
	if nixl != nil {
		var err error
		if ln, err = net.Listen("tcp", net.JoinHostPort(st.sideHost, strconv.Itoa(st.sidePort))); err != nil {
			return fmt.Errorf("bind NIXL side channel (VLLM_NIXL_SIDE_CHANNEL_HOST and _PORT): %w", err)
		}
		in.sidePort = ln.Addr().(*net.TCPAddr).Port
		in.engineID = st.engineID()
		cfg.Connector = &engine.Connector{
			EngineID: in.engineID, Host: st.sideHost, Port: in.sidePort, Lease: nixl.Lease(),
			Recompute: st.serve.KV.OnFailure == "recompute", TPSize: st.serve.TPSize, Dial: (&net.Dialer{}).DialContext,
		}
	}
	in.engine = engine.New(cfg)
	if ln != nil {
		in.side = sidechannel.Serve(ln, sidechannel.Meta{
			EngineID: in.engineID, Model: st.serve.Model, BlockSize: st.serve.BlockSize, WireBytes: st.wireBytes,
		}, in.engine)
	}
	in.api = api.New(in.apiConfig(reg))
	in.http = &http.Server{
		Handler: in.api, IdleTimeout: 5 * time.Second, ReadHeaderTimeout: 30 * time.Second,
		ErrorLog: in.log.std(),
	}
	return nil
}

// engineID is the configured one or a fresh one; with data parallelism it
// carries the rank, as in vLLM.
func (st *settings) engineID() string {
	id := st.serve.KV.EngineID
	if id == "" {
		id = uuid.NewString()
	}
	if st.serve.DPSize > 1 {
		id += "_dp" + strconv.Itoa(st.serve.DPRank)
	}
	return id
}

func (in *Instance) apiConfig(reg *metrics.Registry) api.Config {
	c := in.st.serve
	ids := newIDs(in.engineID, c.Seed)
	return api.Config{
		Names: c.ServedNames, LoRA: c.EnableLoRA, Adapters: c.LoRAs, LoadAtWill: in.st.loadAtWill, Root: c.Model, MaxModelLen: c.MaxModelLen, DPSize: c.DPSize, APIKeys: c.APIKeys, RequestIDHeaders: c.RequestIDHeaders,
		PromptTokensDetails: c.PromptTokensDetails, LoadTracking: c.LoadTracking, ForceUsage: c.ForceIncludeUsage,
		Version: in.st.version, SilentLoadFailure: in.st.before027(), Dev: in.st.dev, Admin: in.st.admin, Fingerprint: in.st.fingerprint(),
		Engine: in.engine, Registry: reg, Metrics: in.metrics, HTTP: metrics.NewHTTP(reg), Faults: in.st.script, NewID: ids.next,
		Exit: func() {
			in.code.Store(1)
			go in.Kill()
		},
		KillEngine: in.engine.Kill,
	}
}

func (in *Instance) serve(ln net.Listener) {
	host, port, _ := net.SplitHostPort(ln.Addr().String())
	if host == "::" || host == "0.0.0.0" {
		host = "127.0.0.1"
	}
	in.url = "http://" + net.JoinHostPort(host, port)
	in.log.printf("INFO Starting vLLM server on http://%s", ln.Addr())
	in.wg.Add(2)
	go func() {
		defer in.wg.Done()
		_ = in.http.Serve(ln) // returns when it is closed
	}()
	go func() {
		defer in.wg.Done()
		select {
		case <-in.dead:
			in.afterDeath()
		case <-in.done:
		}
	}()
	in.log.printf("INFO Application startup complete.")
}

// deathThroes is how long a server whose engine died still answers: requests
// in flight get their errors, /health says 503, then the process ends.
const deathThroes = 250 * time.Millisecond

func (in *Instance) afterDeath() {
	ctx, cancel := context.WithTimeout(context.Background(), deathThroes)
	defer cancel()
	select {
	case <-ctx.Done():
	case <-in.done:
	}
	go in.Kill()
}

// URL is the base of the HTTP API.
func (in *Instance) URL() string { return in.url }

// EngineID is the connector's engine id, empty without one.
func (in *Instance) EngineID() string { return in.engineID }

// SideChannelPort is the side channel's TCP port, 0 without one.
func (in *Instance) SideChannelPort() int { return in.sidePort }

// Stats looks at the engine's queues.
func (in *Instance) Stats() engine.Stats { return in.engine.Stats() }

// SetFaults replaces the fault script and counts requests anew.
func (in *Instance) SetFaults(script string) error { return in.st.script.Replace(script) }

// Done is closed when the instance has ended, for whatever reason.
func (in *Instance) Done() <-chan struct{} { return in.done }

// ExitCode is the code that a process would have ended with: 0 after a stop,
// and after a lethal request too, as with real vLLM; 1 after the fault "die".
func (in *Instance) ExitCode() int { return int(in.code.Load()) }

// Kill ends the instance as kill -9 ends a process: listeners, connections and
// engine are gone at once.
func (in *Instance) Kill() {
	in.end.Do(func() {
		in.http.Close()
		if in.side != nil {
			in.side.Close()
		}
		in.engine.Close()
		close(in.done)
	})
	in.wg.Wait()
}

// Close is Kill for deferring.
func (in *Instance) Close() { in.Kill() }

// Shutdown ends the instance as SIGTERM does, within --shutdown-timeout.
//
// With a timeout of zero listening stops at once and requests in flight are
// aborted. Otherwise they may finish, and KV that is leased may be fetched;
// until then vLLM 0.32 goes on listening and refuses only generation requests,
// where 0.26 stops listening. When the timeout passes first, the engine is
// killed and the clients that are left hear nothing more: Shutdown then returns
// when they have gone, or ctx ends.
func (in *Instance) Shutdown(ctx context.Context) {
	timeout := in.st.serve.ShutdownTimeout
	in.log.printf("INFO Shutting down (timeout %s)", timeout)
	in.api.Drain()
	closed := make(chan struct{})
	closeListener := sync.OnceFunc(func() {
		go func() {
			defer close(closed)
			_ = in.http.Shutdown(ctx) // an error means that ctx ended: Kill follows
		}()
	})
	if timeout == 0 || in.st.before027() {
		closeListener()
	}
	if timeout == 0 {
		in.engine.AbortAll()
	} else {
		in.drain(ctx, timeout)
	}
	closeListener()
	select {
	case <-closed:
	case <-in.done:
	}
	in.Kill()
	in.log.printf("INFO Application shutdown complete.")
}

func (in *Instance) drain(ctx context.Context, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if in.engine.WaitIdle(ctx) != nil {
		in.log.printf("ERROR Drain timeout: killing the engine with requests in flight")
		in.engine.Silence()
	}
}

// ids makes up the random parts of ids. With an engine id that is configured,
// the same seed yields the same ids.
type ids struct {
	mu    sync.Mutex
	state [16]byte
	n     int
	seed  string
}

func newIDs(engineID string, seed int64) *ids {
	d := &ids{seed: engineID + strconv.FormatInt(seed, 10)}
	if engineID == "" {
		_, _ = rand.Read(d.state[:]) // never fails
		d.seed += string(d.state[:])
	}
	return d
}

func (d *ids) next(n int) string {
	d.mu.Lock()
	d.n++
	name := d.seed + "/" + strconv.Itoa(d.n)
	d.mu.Unlock()
	u := uuid.NewSHA1(uuid.NameSpaceOID, []byte(name))
	return strings.ReplaceAll(u.String(), "-", "")[:n]
}
