package router

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/fleet/consultest"
	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router/breaker"
	"github.com/nomad-vllm/nomad-vllm/router/choose"
)

// fleetRows are the rows in which who is there changes, or is not known.
func fleetRows() []failureRow {
	return []failureRow{
		{id: "consul-gone", play: consulGone},
		{id: "consul-stale", play: consulStale},
		{id: "consul-empty", play: consulEmpty},
		{id: "consul-flaps", play: consulFlaps},
		{id: "instance-critical", play: taken("p0", func(i *consultest.Instance) { i.Check = consultest.Critical }, "is critical")},
		{id: "instance-maintenance", play: taken("p0", func(i *consultest.Instance) { i.Check = consultest.Maintenance }, "in maintenance: drill")},
		{id: "instance-bad-meta", play: taken("p0", func(i *consultest.Instance) { i.Meta["pd_side_channel_port"], i.Meta["pd_dp_size"] = "x", "many" }, "pd_dp_size")},
		{id: "breaker-opens", play: breakerOpens},
		{id: "breaker-not-everybody", play: breakerNotEverybody},
		{id: "slow-start", play: slowStart},
	}
}

// registered is a stage whose instances the router finds in a Consul.
type registered struct {
	*stage
	consul  *consultest.Consul
	watcher *fleet.Consul
	all     map[string]consultest.Instance
}

// consul starts a stage and gives the router a Consul to look into.
func (s *suite) consul(t *testing.T) *registered {
	r := &registered{consul: &consultest.Consul{}, all: map[string]consultest.Instance{}}
	server := httptest.NewServer(r.consul)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	var err error
	r.watcher, err = fleet.NewConsul(fleet.ConsulConfig{Address: server.URL, MinDelay: time.Millisecond, Wait: time.Second}, hclog.NewNullLogger())
	require.NoError(t, err)
	r.stage = s.stage(t, stageConfig{
		router: Config{Source: r.watcher},
		change: func(i *fleet.Instance) {
			u, err := url.Parse(i.URL)
			require.NoError(t, err)
			host, port, _ := net.SplitHostPort(u.Host)
			n, _ := strconv.Atoi(port)
			r.all[i.ID] = consultest.Instance{ID: i.ID, Host: host, Port: n, Role: string(i.Role), Meta: map[string]string{"pd_model": "m"}}
		},
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = r.watcher.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	r.knows(t, 4, r.some("p0", "p1", "d0", "d1")...)
	return r
}

func (r *registered) some(ids ...string) (out []consultest.Instance) {
	for _, id := range ids {
		out = append(out, r.all[id])
	}
	return out
}

// knows sets what Consul knows and waits until the router may use n of them.
func (r *registered) knows(t *testing.T, n int, instances ...consultest.Instance) {
	t.Helper()
	r.consul.Set(instances...)
	r.sees(t, n)
}

func (r *registered) sees(t *testing.T, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		s, usable := r.watcher.Snapshot(), 0
		if s == nil {
			return false
		}
		for _, i := range s.Instances {
			if i.Usable() {
				usable++
			}
		}
		return usable == n
	}, waitFor, tick)
}

func consulGone(t *testing.T, s *suite) *rig {
	r := s.consul(t)
	r.consul.SetDown(true)
	require.Eventually(t, func() bool { return r.watcher.LastError() != nil }, waitFor, tick)
	r.post(cmplPath, rowJSON).served(t, disaggregated, "")
	require.Contains(t, r.status().SourceError, "No cluster leader")
	r.consul.SetDown(false)
	require.Eventually(t, func() bool { return r.watcher.LastError() == nil }, 2*waitFor, tick, "it is asked again")
	return r.rig
}

func consulStale(t *testing.T, s *suite) *rig {
	r := s.consul(t)
	r.d[0].Close() // what the lagging server still tells of is not there any more
	r.knows(t, 3, r.some("p0", "p1", "d1")...)
	r.consul.SetBehind(time.Minute, r.some("p0", "p1", "d0")...)
	for range 5 {
		got := r.post(cmplPath, rowJSON)
		got.served(t, disaggregated, "")
		require.Equal(t, "n1/d1", got.Header.Get(pd.HeaderDecode))
	}
	r.sees(t, 3)
	require.Zero(t, sum(r.scraped(), "pd_router_retries_total"))
	return r.rig
}

func consulEmpty(t *testing.T, s *suite) *rig {
	r := s.consul(t)
	before := r.watcher.Snapshot().At
	r.consul.SetBehind(0) // a server that was wiped does not know that it lags
	require.Eventually(t, func() bool { return r.watcher.Snapshot().At.After(before) }, waitFor, tick, "it has asked meanwhile")
	r.post(cmplPath, rowJSON).served(t, disaggregated, "")
	r.knows(t, 0)
	got := r.post(cmplPath, rowJSON)
	require.Contains(t, got.apiError(t, 503).Message, "the decode pool is empty")
	require.NotEmpty(t, got.Header.Get("Retry-After"))
	return r.rig
}

func consulFlaps(t *testing.T, s *suite) *rig {
	r := s.consul(t)
	leave, began := r.ask(cmplPath, completions().streamed(400))
	defer leave()
	resp := <-began
	require.NotNil(t, resp)
	defer resp.Body.Close()
	stays := "d1"
	if resp.Header.Get(pd.HeaderDecode) == "n1/d1" {
		stays = "d0"
	}
	for range 5 {
		r.knows(t, 2, r.some("p1", stays)...) // of two idle prefills p0 would be the first to be asked
		got := r.post(cmplPath, rowJSON)
		got.served(t, disaggregated, "")
		require.Equal(t, "n1/p1", got.Header.Get(pd.HeaderPrefill))
		require.Equal(t, "n1/"+stays, got.Header.Get(pd.HeaderDecode))
		r.knows(t, 4, r.some("p0", "p1", "d0", "d1")...)
	}
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, 400, strings.Count(string(b), `"text"`), "what runs on an instance that is gone from Consul goes on")
	return r.rig
}

// taken is a row in which one instance is not to be used any more, which the
// status page explains; what runs on it goes on.
func taken(id string, change func(*consultest.Instance), why string) func(t *testing.T, s *suite) *rig {
	return func(t *testing.T, s *suite) *rig {
		r := s.consul(t)
		var letGo atomic.Bool
		r.p[0].does(func(_ *stand, _ http.ResponseWriter, req *http.Request) bool {
			for !letGo.Load() && req.Context().Err() == nil {
				<-time.After(tick)
			}
			return false
		})
		_, began := r.ask(cmplPath, rowJSON)
		require.Eventually(t, func() bool { return r.p[0].count() == 1 }, waitFor, tick)
		sick := r.all[id]
		change(&sick)
		r.knows(t, 3, append(r.some("p1", "d0", "d1"), sick)...)
		avoided := func() {
			for range 3 {
				got := r.post(cmplPath, rowJSON)
				got.served(t, disaggregated, "")
				require.Equal(t, "n1/p1", got.Header.Get(pd.HeaderPrefill))
			}
		}
		avoided()
		require.Contains(t, r.status().instance("n1/p0").Reason, why)
		letGo.Store(true)
		resp := <-began
		require.NotNil(t, resp)
		defer resp.Body.Close()
		require.Equal(t, 200, resp.StatusCode)
		require.Equal(t, "n1/p0", resp.Header.Get(pd.HeaderPrefill), "what runs on it goes on")
		avoided() // idle, it would be the first to be asked
		return r.rig
	}
}

func breakerOpens(t *testing.T, s *suite) *rig {
	now := &atomic.Int64{}
	g := s.stage(t, stageConfig{prefills: 3, router: Config{
		Breaker: breaker.Config{Failures: 3, Now: func() time.Time { return time.Unix(now.Load(), 0) }},
		Choose:  choose.Config{Prefill: choose.RoundRobin},
	}})
	g.p[0].does(instead(status(500)))
	ask := func(n int) {
		for range n {
			g.post(cmplPath, rowJSON).served(t, disaggregated, "")
		}
	}
	ask(15)
	require.Equal(t, 3, g.p[0].count(), "three failures in a row are enough")
	now.Add(6)
	ask(9)
	require.Equal(t, 4, g.p[0].count(), "one probe, which fails")
	now.Add(11)
	g.p[0].does(nil)
	ask(9)
	require.Greater(t, g.p[0].count(), 5, "a probe that goes well brings it back")
	back := g.p[0].count()
	g.p[0].does(instead(status(500)))
	ask(15)
	require.Equal(t, back+3, g.p[0].count(), "as at first")
	return g.rig
}

func breakerNotEverybody(t *testing.T, s *suite) *rig {
	g := s.stage(t, stageConfig{router: Config{Breaker: breaker.Config{Failures: 2, Open: time.Hour}}})
	for _, p := range g.p {
		p.does(instead(status(503)))
	}
	for range 8 {
		g.post(cmplPath, rowJSON).served(t, pd.PathLocal, pd.ReasonPrefillFailed)
	}
	require.GreaterOrEqual(t, total(g.p, (*stand).count), 8, "half of the pool is asked all the time")
	for _, p := range g.p {
		p.does(nil)
	}
	g.post(cmplPath, rowJSON).served(t, disaggregated, "")
	return g.rig
}

func slowStart(t *testing.T, s *suite) *rig {
	now := &atomic.Int64{}
	g := s.stage(t, stageConfig{prefills: 1, router: Config{Choose: choose.Config{
		SlowStart: time.Minute, Now: func() time.Time { return time.Unix(now.Load(), 0) },
		Decode: choose.LeastLoaded, Prefill: choose.LeastLoaded,
	}}})
	old, fresh := inst("d0", g.d[0].URL, pd.RoleDecode), inst("d1", g.d[1].URL, pd.RoleDecode)
	p := inst("p0", g.p[0].URL, pd.RolePrefill)
	hold := make(chan struct{})
	keep := func(_ *stand, _ http.ResponseWriter, r *http.Request) bool {
		select {
		case <-hold:
		case <-r.Context().Done():
		}
		return false
	}
	g.source.set(p, old)
	g.get("/metrics") // the router looks
	now.Add(30)       // whoever is there when the router starts is not new
	g.source.set(p, old, fresh)
	g.get("/metrics")
	shares := func() (atOld, atNew int) {
		for _, d := range g.d {
			d.does(keep)
		}
		before := [2]int{g.d[0].count(), g.d[1].count()}
		var waiting []<-chan *http.Response
		for n := range 12 {
			_, began := g.ask(cmplPath, rowJSON)
			waiting = append(waiting, began)
			require.Eventually(t, func() bool { return total(g.d, (*stand).count) == before[0]+before[1]+n+1 }, waitFor, tick)
		}
		atOld, atNew = g.d[0].count()-before[0], g.d[1].count()-before[1]
		close(hold)
		for _, w := range waiting {
			resp := <-w
			require.NotNil(t, resp)
			require.Equal(t, 200, resp.StatusCode)
			resp.Body.Close()
		}
		hold = make(chan struct{})
		return atOld, atNew
	}
	atOld, atNew := shares()
	require.GreaterOrEqual(t, atOld, 3*max(1, atNew), "%d to the old one, %d to the new", atOld, atNew)
	now.Add(60)
	atOld, atNew = shares()
	require.InDelta(t, atOld, atNew, 2, "its full share")
	return g.rig
}
