package router

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router/choose"
	"github.com/nomad-vllm/nomad-vllm/sim"
	"github.com/nomad-vllm/nomad-vllm/sim/profile"
)

// stage is where one row of docs/failures.md is played: a router before strict
// simulators, each behind a stand that can spoil what passes through it.
type stage struct {
	*rig
	p, d []*stand
}

// stageLease is how long the simulators keep blocks that nobody fetches; the
// table's test waits for it once, at its end.
const stageLease = 3 * time.Second

// stageConfig says what differs from a stage of two fast prefills and two fast
// decodes, of which the first of either pool is asked first.
type stageConfig struct {
	router            Config
	prefills, decodes int
	slowPrefills      int              // so many take seconds for the prompt
	args              map[int][]string // further flags of the n-th decode
	// change edits what the router is told of an instance.
	change func(i *fleet.Instance)
}

func (s *suite) stage(t *testing.T, c stageConfig) *stage {
	if c.prefills == 0 {
		c.prefills = 2
	}
	if c.decodes == 0 {
		c.decodes = 2
	}
	g := &stage{}
	var all []*fleet.Instance
	add := func(name string, role pd.Role, slow bool, args ...string) *stand {
		x := s.stand(t, role, slow, args...)
		i := inst(name, x.URL, role, func(i *fleet.Instance) { i.Meta.KVLease, i.Meta.SideChannelPort = stageLease, x.sim.SideChannelPort() })
		if c.change != nil {
			c.change(i)
		}
		all = append(all, i)
		return x
	}
	for n := range c.prefills {
		g.p = append(g.p, add(fmt.Sprint("p", n), pd.RolePrefill, n < c.slowPrefills))
	}
	for n := range c.decodes {
		g.d = append(g.d, add(fmt.Sprint("d", n), pd.RoleDecode, false, c.args[n]...))
	}
	// Of those that are equal the first is asked first.
	c.router.Choose.Intn = func(n int) int { return n - 1 }
	if c.router.Choose.Prefill == "" {
		c.router.Choose.Prefill, c.router.Choose.Decode = choose.LeastLoaded, choose.LeastLoaded
	}
	g.rig = newRigWith(t, c.router, all...)
	return g
}

// suite keeps the simulators that a row leaves with blocks until the leases of
// these have ended.
type suite struct {
	says map[string]string // an endpoint's whole, right answer

	mu   sync.Mutex
	sims []*sim.Instance
}

// allFreed waits until no simulator holds a block.
func (s *suite) allFreed(t *testing.T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := ""
	require.Eventually(t, func() bool {
		held = ""
		for n, x := range s.sims {
			if holds(x) {
				held += fmt.Sprintf("simulator %d: %+v\n", n, x.Stats())
			}
		}
		return held == ""
	}, stageLease+10*time.Second, 20*time.Millisecond, "blocks that nobody frees")
}

func holds(x *sim.Instance) bool {
	st := x.Stats()
	return st.Leases+st.UsedBlocks+st.Running+st.Waiting+st.Deferred > 0
}

// leave is a simulator's end of a row.
func (s *suite) leave(x *sim.Instance) {
	if !holds(x) {
		x.Close()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sims = append(s.sims, x)
}

func (s *suite) close() {
	for _, x := range s.sims {
		x.Close()
	}
}

// stand is one instance as the router sees it.
type stand struct {
	*httptest.Server
	sim   *sim.Instance
	proxy *httputil.ReverseProxy

	mu    sync.Mutex
	fault fault
	asked []string // bodies
	gone  int      // requests that the router took back
}

// fault spoils a request that arrived; false: it did nothing.
type fault func(x *stand, w http.ResponseWriter, r *http.Request) bool

func (s *suite) stand(t *testing.T, role pd.Role, slow bool, args ...string) *stand {
	o := sim.Options{Model: "m", Role: role, Args: append([]string{"--max-model-len", "4096", "--num-gpu-blocks-override", "600", "--kv-transfer-config.kv_connector_extra_config.kv_lease_duration", fmt.Sprint(stageLease.Seconds())}, args...)}
	if slow {
		p := profile.Fast()
		p.Load, p.Step = 0, 300*time.Millisecond
		o.Profile = &p
		o.Args = append(o.Args, "--max-num-batched-tokens", "16") // ten passes for the rows' prompt
	}
	in, err := sim.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { s.leave(in) })
	base, err := url.Parse(in.URL())
	require.NoError(t, err)
	x := &stand{sim: in, proxy: httputil.NewSingleHostReverseProxy(base)}
	x.proxy.FlushInterval = -1
	x.proxy.Transport = &http.Transport{DisableKeepAlives: true}
	x.proxy.ErrorHandler = func(w http.ResponseWriter, r *http.Request, _ error) {
		x.tookBack(r)
		reset(w) // as the instance itself would
	}
	x.Server = httptest.NewServer(x)
	t.Cleanup(func() { x.CloseClientConnections(); x.Close() })
	return x
}

// does makes the stand spoil what arrives.
func (x *stand) does(f fault) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.fault = f
}

func first(f fault) fault {
	return func(x *stand, w http.ResponseWriter, r *http.Request) bool { return x.count() == 1 && f(x, w, r) }
}

// count is how many requests have arrived.
func (x *stand) count() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return len(x.asked)
}

// cancelled is how many of them the router broke off.
func (x *stand) cancelled() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.gone
}

func total(stands []*stand, of func(*stand) int) int {
	n := 0
	for _, x := range stands {
		n += of(x)
	}
	return n
}

func (x *stand) leases() int { return x.sim.Stats().Leases }

func (x *stand) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/v1/models" { // the router's own question is no leg
		_, _ = io.WriteString(w, `{"data":[{"id":"m","parent":null}]}`)
		return
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
	x.mu.Lock()
	x.asked = append(x.asked, string(b))
	f := x.fault
	x.mu.Unlock()
	if f == nil || !f(x, w, r) {
		x.pass(w, r)
	}
}

// pass has the simulator answer.
func (x *stand) pass(w http.ResponseWriter, r *http.Request) {
	defer func() {
		if p := recover(); p != nil { // the copy of a stream ended early
			x.tookBack(r)
			panic(p)
		}
	}()
	x.proxy.ServeHTTP(w, r)
}

// tookBack counts a request that the router broke off before its end. It is
// called where one is waited for: a connection that is closed after an answer
// that the router did not like looks the same a moment later.
func (x *stand) tookBack(r *http.Request) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if r.Context().Err() != nil {
		x.gone++
	}
}

// instead answers in the instance's place, which sees nothing of it.
func instead(h handler) fault {
	return func(_ *stand, w http.ResponseWriter, r *http.Request) bool { return h(0, w, r, nil) }
}

// after has the instance answer, and passes something else on.
func after(spoil func(w http.ResponseWriter, answer string)) fault {
	return func(x *stand, w http.ResponseWriter, r *http.Request) bool {
		answer := httptest.NewRecorder()
		x.pass(answer, r)
		for k, v := range answer.Header() {
			w.Header()[k] = v
		}
		w.Header().Del("Content-Length")
		spoil(w, answer.Body.String())
		return true
	}
}

// edited passes an answer on with one part replaced.
func edited(old, with string) fault {
	return after(func(w http.ResponseWriter, answer string) {
		_, _ = io.WriteString(w, strings.Replace(answer, old, with, 1))
	})
}

// hangs says something and then nothing until the router gives up.
func hangs(say func(w http.ResponseWriter)) fault {
	return func(x *stand, w http.ResponseWriter, r *http.Request) bool {
		say(w)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		x.tookBack(r)
		return true
	}
}

// streamed passes a stream on until n events are out, and goes on with then.
func streamed(n int, then func(w http.ResponseWriter, r *http.Request)) fault {
	return func(x *stand, w http.ResponseWriter, r *http.Request) bool {
		req, _ := http.NewRequestWithContext(r.Context(), r.Method, x.sim.URL()+r.URL.Path, r.Body)
		req.Header = r.Header.Clone()
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			reset(w)
			return true
		}
		defer resp.Body.Close()
		w.Header().Set("Content-Type", resp.Header.Get("Content-Type"))
		for in := bufio.NewReader(resp.Body); n > 0; {
			line, err := in.ReadString('\n')
			if err != nil {
				break
			}
			_, _ = io.WriteString(w, line)
			if line == "\n" {
				n--
			}
		}
		_ = http.NewResponseController(w).Flush()
		defer x.tookBack(r)
		then(w, r)
		return true
	}
}

func stands(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func breaks(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

func ends(http.ResponseWriter, *http.Request) {}

func nothing(http.ResponseWriter) {}

// lateBy is slow, and does what it was asked to.
func lateBy(d time.Duration) fault {
	return func(_ *stand, _ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-time.After(d):
		case <-r.Context().Done():
		}
		return false
	}
}
