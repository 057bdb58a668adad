package vllm

import (
	"context"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// ending is how servers' lives ended, as far as a router or a driver can see it.
type ending struct {
	KilledPrefill  int  // status of leg 2 when the prefill died in between
	DecodeSurvives bool // the decode lives and answers after that
	NewPrefill     bool // the same decode takes KV from the prefill's successor
	BothTrue       int  // status of a request with both do_remote_* true, sent to a prefill
	BothTrueCode   int64
	Flat           int // status of leg 2 with flat remote_block_ids
	FlatCode       int64
	Orphan         int   // status of leg 2 without remote_engine_id, 0: none in three seconds
	OrphanLives    bool  // the decode lives while that client waits
	OrphanCode     int64 // exit code once it has left
	TermCode       int64 // exit code after SIGTERM with requests in flight
	Drain          drainage
}

// drainage is what SIGTERM does to a server with --shutdown-timeout.
type drainage struct {
	Finished int // status of the request in flight
	Whole    bool
	New      int  // status of a request that came after the signal
	Healthy  bool // /health meanwhile
	Code     int64
}

// checkEnds kills the prefill between two legs, then servers by requests that a
// router must never let through, and terminates one that drains and one that does not.
func checkEnds(t *testing.T, command string, limit time.Duration, prefill, decode *server) ending {
	var e ending
	s := newSession(prefill.url, decode.url, "ends", newSalt())
	first := s.prefill(chatPath, leg1(s.chat(nil)))
	prefill.killGroup()
	<-prefill.exited
	start := time.Now()
	e.KilledPrefill = s.decode(chatPath, s.chat(body{"kv_transfer_params": first.params(nil)})).Status
	require.Less(t, time.Since(start), 6*time.Second, "leg 2 fails quickly when the prefill has gone")
	e.DecodeSurvives = decode.alive() && s.decode(chatPath, s.chat(nil)).Status == http.StatusOK

	next := startServer(t, command, "prefill")
	orphanage, term := startServer(t, command, "decode"), startServer(t, command, "decode")
	draining := startServer(t, command, "decode", "--shutdown-timeout", "30")
	next.waitHealthy(t, limit)
	s = newSession(next.url, decode.url, "ends again", newSalt())
	_, second := s.handoff(chatPath, s.chat(nil), nil)
	e.NewPrefill = second.Status == http.StatusOK

	_, second = s.handoff(chatPath, s.chat(nil), body{"remote_block_ids": []int{1, 2}})
	e.Flat, e.FlatCode = second.Status, codeOf(t, decode, "flat block ids end a decode")
	orphanage.waitHealthy(t, limit)
	e.Orphan, e.OrphanLives = orphan(t, next, orphanage)
	e.OrphanCode = codeOf(t, orphanage, "it ends when its client leaves")

	both := askParams().with(body{"do_remote_prefill": true})
	e.BothTrue = s.prefill(chatPath, s.chat(body{"kv_transfer_params": both})).Status
	e.BothTrueCode = codeOf(t, next, "both do_remote_* true end a prefill")
	term.waitHealthy(t, limit)
	e.TermCode = terminate(t, term)
	draining.waitHealthy(t, limit)
	e.Drain = drain(t, draining)
	return e
}

// codeOf waits for the end of a server that a request has killed.
func codeOf(t *testing.T, sv *server, why string) int64 {
	t.Helper()
	require.True(t, sv.waitExit(20*time.Second), why)
	return sv.code.Load()
}

// orphan sends a decode the second leg of a handoff from nowhere.
func orphan(t *testing.T, prefill, decode *server) (status int, lives bool) {
	t.Helper()
	s := newSession(prefill.url, decode.url, "orphan", newSalt())
	first := s.prefill(chatPath, leg1(s.chat(nil)))
	answered := make(chan int, 1)
	ctx, leave := context.WithTimeout(t.Context(), 3*time.Second)
	defer leave()
	s.ctx = ctx
	go func() {
		answered <- s.decode(chatPath, s.chat(body{"kv_transfer_params": first.params(body{"remote_engine_id": absent})})).Status
	}()
	select {
	case <-decode.exited:
	case <-time.After(2 * time.Second):
		lives = true
	}
	return <-answered, lives
}

// inFlight starts a request of n tokens and waits until it runs.
func inFlight(t *testing.T, sv *server, limit time.Duration, n int, more body) <-chan answer {
	t.Helper()
	running := metric(sv.url, "vllm:num_requests_running")
	out := make(chan answer, 1)
	go func() {
		s := newSession(sv.url, sv.url, "in flight", newSalt())
		s.client.Timeout = limit
		out <- s.decode(chatPath, s.chat(body{"max_tokens": n, "ignore_eos": true}.with(more)))
	}()
	require.Eventually(t, func() bool { return metric(sv.url, "vllm:num_requests_running") > running }, 10*time.Second, 20*time.Millisecond)
	return out
}

// terminate sends SIGTERM to a server that has a stream and a JSON request in
// flight. What these two get is a race in vLLM, which kills its engine at once:
// an error, a cut answer with finish_reason "abort", or nothing until they
// leave. It is logged and not required.
func terminate(t *testing.T, sv *server) int64 {
	t.Helper()
	requests := []<-chan answer{
		inFlight(t, sv, 12*time.Second, 1900, body{"stream": true}),
		inFlight(t, sv, 12*time.Second, 1900, nil),
	}
	start := time.Now()
	sv.signal(syscall.SIGTERM)
	require.Eventually(t, func() bool { return !healthy(t.Context(), sv.url) }, 5*time.Second, 10*time.Millisecond)
	t.Logf("SIGTERM: listener closed after %s", time.Since(start).Round(10*time.Millisecond))
	for _, r := range requests {
		a := <-r
		t.Logf("SIGTERM: after %s: status %d, end %.150q %s", time.Since(start).Round(10*time.Millisecond), a.Status, a.Body[max(0, len(a.Body)-150):], a.Err)
	}
	require.True(t, sv.waitExit(20*time.Second), "the process ends once its clients have left")
	t.Logf("SIGTERM: gone after %s, code %d", time.Since(start).Round(10*time.Millisecond), sv.code.Load())
	return sv.code.Load()
}

// drain sends SIGTERM to a server with --shutdown-timeout that has a request in flight.
func drain(t *testing.T, sv *server) drainage {
	t.Helper()
	var d drainage
	request := inFlight(t, sv, 30*time.Second, 900, nil)
	start := time.Now()
	sv.signal(syscall.SIGTERM)
	s := newSession(sv.url, sv.url, "late", newSalt())
	require.Eventually(t, func() bool {
		d.New = s.decode(chatPath, s.chat(body{"max_tokens": 1})).Status
		d.Healthy = healthy(t.Context(), sv.url)
		return d.New != http.StatusOK
	}, 10*time.Second, 50*time.Millisecond)
	a := <-request
	d.Finished, d.Whole = a.Status, len(textOf(a)) > 900
	t.Logf("drain: the request in flight finished after %s", time.Since(start).Round(10*time.Millisecond))
	require.True(t, sv.waitExit(30*time.Second))
	t.Logf("drain: gone after %s", time.Since(start).Round(10*time.Millisecond))
	d.Code = sv.code.Load()
	return d
}

// leaseEnd is what became of blocks that no decode fetched in time.
type leaseEnd struct {
	After   time.Duration // until the prefill counted them as expired
	Late    int           // status of leg 2 after that
	Noticed bool          // the prefill counts the late notification
}

func waitForLease(prefill, decode *server) leaseEnd {
	const expired, late = "vllm:nixl_num_kv_expired_reqs_total", "vllm:nixl_num_notifications_after_expiry_total"
	s := newSession(prefill.url, decode.url, "lease", newSalt())
	before, noticed := metric(prefill.url, expired), metric(prefill.url, late)
	start := time.Now()
	first := s.prefill(chatPath, leg1(s.chat(nil)))
	var e leaseEnd
	every := time.NewTicker(250 * time.Millisecond)
	defer every.Stop()
	for range every.C {
		e.After = time.Since(start).Round(time.Second)
		if metric(prefill.url, expired) > before || e.After > time.Minute {
			break
		}
	}
	e.Late = s.decode(chatPath, s.chat(body{"kv_transfer_params": first.params(nil)})).Status
	s.prefill(chatPath, s.chat(nil)) // an idle engine reads no notifications
	for range every.C {
		e.Noticed = metric(prefill.url, late) > noticed
		if e.Noticed || time.Since(start) > e.After+20*time.Second {
			return e
		}
	}
	return e
}
