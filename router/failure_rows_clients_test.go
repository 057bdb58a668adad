package router

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/sim"
)

// clientRows are the rows in which the client fails, or the request itself does.
func clientRows() []endpointRow {
	return []endpointRow{
		{id: "client-gone-before", play: clientGoneBefore},
		{id: "client-gone-prefill", play: clientGonePrefill},
		{id: "client-gone-between", play: clientGoneBetween},
		{id: "client-gone-decode", play: clientGoneDecode},
		{id: "client-gone-midstream", play: clientGoneMidstream},
		{id: "client-slow", play: clientSlow},
		{id: "client-stands-still", play: clientStandsStill},
		{id: "client-slow-body", play: clientSlowBody},
		{id: "request-breaks-engines", play: requestBreaksEngines},
	}
}

// ask sends a request in the background; leave takes it back. The channel gets
// the first bytes of the answer, if there are any.
func (r *rig) ask(path, body string) (leave context.CancelFunc, began <-chan *http.Response) {
	ctx, cancel := context.WithCancel(r.t.Context())
	c := make(chan *http.Response, 1)
	go func() {
		defer close(c)
		req, _ := http.NewRequestWithContext(ctx, http.MethodPost, r.front.URL+path, strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		if resp, err := http.DefaultClient.Do(req); err == nil {
			c <- resp
		}
	}()
	return cancel, c
}

// dial sends raw bytes to the router.
func (r *rig) dial(raw string, args ...any) net.Conn {
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.front.URL, "http://"))
	require.NoError(r.t, err)
	r.t.Cleanup(func() { conn.Close() })
	_, err = fmt.Fprintf(conn, raw, args...)
	require.NoError(r.t, err)
	return conn
}

const rawPost = "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"

// left checks what a request whose client left has cost.
func (g *stage) left(t *testing.T, prefills, decodes, cancelled, leases int) {
	t.Helper()
	require.Eventually(t, func() bool { return strings.Contains(g.log.String(), "status=499") }, waitFor, tick)
	require.Equal(t, prefills, total(g.p, (*stand).count), "requests at prefills")
	require.Equal(t, decodes, total(g.d, (*stand).count), "requests at decodes")
	require.Eventually(t, func() bool { return total(append(g.p, g.d...), (*stand).cancelled) == cancelled }, waitFor, tick, "legs broken off")
	require.Eventually(t, func() bool { return total(g.p, (*stand).leases) == leases }, waitFor, tick, "leases that stand")
	now := g.scraped()
	require.Zero(t, sum(now, "pd_router_retries_total"), "a client that left is no failure")
	require.Zero(t, sum(now, "pd_router_instance_failures_total"), "of an instance")
	require.Zero(t, sum(now, "pd_router_requests_in_flight"))
}

func clientGoneBefore(t *testing.T, s *suite, d dialect) *rig {
	g := s.stage(t, stageConfig{})
	require.NoError(t, g.dial(rawPost, d.path, 100, "{").Close())
	g.left(t, 0, 0, 0, 0)
	return g.rig
}

func clientGonePrefill(t *testing.T, s *suite, d dialect) *rig {
	g := s.stage(t, stageConfig{prefills: 1, slowPrefills: 1})
	leave, _ := g.ask(d.path, d.request(rowTokens))
	p := g.p[0].sim
	require.Eventually(t, func() bool { return p.Stats().UsedBlocks > 0 }, waitFor, tick)
	leave()
	g.left(t, 1, 0, 1, 0)
	require.Eventually(t, func() bool { return p.Stats().UsedBlocks == 0 }, 2*time.Second, tick, "freed at once, three seconds of work before its end")
	return g.rig
}

func clientGoneBetween(t *testing.T, s *suite, d dialect) *rig {
	g := s.stage(t, stageConfig{})
	answered := make(chan struct{})
	g.p[0].does(func(x *stand, w http.ResponseWriter, r *http.Request) bool {
		return after(func(_ http.ResponseWriter, answer string) {
			require.Contains(t, answer, `"remote_block_ids"`)
			close(answered)
			<-r.Context().Done()
			x.tookBack(r)
		})(x, w, r)
	})
	leave, _ := g.ask(d.path, d.request(rowTokens))
	wait(t, answered)
	leave()
	g.left(t, 1, 0, 1, 1)
	return g.rig
}

func clientGoneDecode(t *testing.T, s *suite, d dialect) *rig {
	g := s.stage(t, stageConfig{})
	g.d[0].does(hangs(d.begin))
	leave, _ := g.ask(d.path, d.streamed(rowTokens))
	require.Eventually(t, func() bool { return g.d[0].count() == 1 }, waitFor, tick)
	leave()
	g.left(t, 1, 1, 1, 1)
	return g.rig
}

func clientGoneMidstream(t *testing.T, s *suite, d dialect) *rig {
	g := s.stage(t, stageConfig{})
	// Nothing more is written to the client, so no failed write tells of its end.
	g.d[0].does(streamed(d.early, stands))
	leave, began := g.ask(d.path, d.streamed(3000))
	resp := <-began
	require.NotNil(t, resp)
	_, err := bufio.NewReader(resp.Body).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, 1, g.d[0].sim.Stats().Running)
	leave()
	resp.Body.Close()
	g.left(t, 1, 1, 1, 0)
	require.Eventually(t, func() bool { return g.d[0].sim.Stats().UsedBlocks == 0 }, time.Second, tick, "six seconds of work before its end")
	return g.rig
}

// flood is a stream of n pieces of 64 KiB, 0 for one without end; written
// counts its bytes.
func (d dialect) flood(n int, written *atomic.Int64) fault {
	piece := strings.Replace(d.token, "one", strings.Repeat("x", 64<<10), 1)
	return func(x *stand, w http.ResponseWriter, r *http.Request) bool {
		defer x.tookBack(r)
		d.begin(w)
		for i := 0; (n == 0 || i < n) && r.Context().Err() == nil; i++ {
			m, _ := io.WriteString(w, piece)
			written.Add(int64(m))
		}
		_, _ = io.WriteString(w, d.last)
		return true
	}
}

func clientSlow(t *testing.T, s *suite, d dialect) *rig {
	g := s.stage(t, stageConfig{router: Config{WriteTimeout: limit}})
	var written atomic.Int64
	g.d[0].does(d.flood(400, &written)) // the client takes twice the limit for all of it
	_, began := g.ask(d.path, d.streamed(rowTokens))
	resp := <-began
	require.NotNil(t, resp)
	defer resp.Body.Close()
	pause, read := time.NewTicker(20*time.Millisecond), int64(0)
	defer pause.Stop()
	for {
		n, err := io.CopyN(io.Discard, resp.Body, 256<<10)
		read += n
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		<-pause.C
	}
	require.Equal(t, int64(len(d.opening+d.last))+written.Load(), read, "every byte")
	require.Zero(t, g.d[0].cancelled())
	return g.rig
}

func clientStandsStill(t *testing.T, s *suite, d dialect) *rig {
	g := s.stage(t, stageConfig{router: Config{WriteTimeout: 100 * time.Millisecond}})
	var written atomic.Int64
	g.d[0].does(d.flood(0, &written))
	body := d.streamed(rowTokens)
	g.dial(rawPost, d.path, len(body), body)
	require.Eventually(t, func() bool { return g.d[0].cancelled() == 1 }, waitFor, tick, "the decode is told")
	require.Less(t, written.Load(), int64(64<<20), "what waits is bounded by the sockets' buffers")
	require.Eventually(t, func() bool { return strings.Contains(g.log.String(), "status=499") }, waitFor, tick)
	return g.rig
}

func clientSlowBody(t *testing.T, s *suite, d dialect) *rig {
	g := s.stage(t, stageConfig{router: Config{BodyTimeout: 100 * time.Millisecond}})
	conn := g.dial(rawPost, d.path, 100, "{")
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(waitFor)))
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	b, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	require.Contains(t, d.errorOf(t, reply{resp, string(b)}, 408), "did not arrive within 100ms")
	require.Zero(t, total(append(g.p, g.d...), (*stand).count))
	return g.rig
}

func requestBreaksEngines(t *testing.T, s *suite, d dialect) *rig {
	g := s.stage(t, stageConfig{prefills: 3, decodes: 3})
	for _, x := range append(g.p, g.d...) {
		require.NoError(t, x.sim.SetFaults("die@1"))
	}
	require.Contains(t, d.errorOf(t, g.post(d.path, d.request(rowTokens)), 502), "not sent to another")
	all := append(g.p, g.d...)
	dead := func() int { return total(all, func(x *stand) int { return ended(x.sim) }) }
	require.Eventually(t, func() bool { return dead() >= maxBroken }, waitFor, tick)
	require.Equal(t, maxBroken, dead())
	require.Equal(t, maxBroken, total(all, (*stand).count))
	return g.rig
}

func ended(x *sim.Instance) int {
	select {
	case <-x.Done():
		return 1
	default:
		return 0
	}
}
