package upstream

import (
	"sync"
	"time"
)

const (
	// idleLimit is below vLLM's keep-alive of 5 s, so that it is us who close:
	// a request on a connection that the server is closing is lost.
	idleLimit = 4 * time.Second
	// maxIdle bounds what one instance may keep open for nothing. Thousands of
	// streams that begin at once have as many short legs at the prefills, whose
	// connections would take descriptors from them for idleLimit.
	maxIdle = 256
)

// host is one instance's address with its idle connections.
type host struct {
	authority string // the Host header
	addr      string // host:port to dial
	name      string // for TLS
	prefix    string // path of the base URL, without a slash at its end
	tls       bool
	heads     *headPool

	mu    sync.Mutex
	busy  int     // requests under way
	idle  []*conn // the longest idle first
	timer *time.Timer
}

// begin counts a request in, which put or end counts out again, and takes the
// connection that was used last, nil if none is any good. The last one, so that
// the others grow old and are closed.
func (h *host) begin() *conn {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.busy++
	for n := len(h.idle) - 1; n >= 0; n-- {
		cn := h.idle[n]
		h.idle[n] = nil
		h.idle = h.idle[:n]
		if now.Sub(cn.idleSince) < idleLimit && cn.quiet() {
			cn.reused = true
			return cn
		}
		cn.close()
	}
	return nil
}

// end counts a request out whose connection is closed or never came about.
func (h *host) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.busy--
}

// put ends a request and takes its connection back; it may be at rest only.
func (h *host) put(cn *conn) {
	cn.idleSince = time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.busy--
	if len(h.idle) >= maxIdle {
		cn.close()
		return
	}
	h.idle = append(h.idle, cn)
	if h.timer == nil {
		h.timer = time.AfterFunc(idleLimit, h.sweep)
	}
}

// sweep closes what has been idle for too long and comes back while there is
// anything left.
func (h *host) sweep() {
	h.closeIdle(time.Now().Add(-idleLimit))
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.idle) == 0 {
		h.timer = nil
		return
	}
	h.timer.Reset(max(time.Millisecond, idleLimit-time.Since(h.idle[0].idleSince)))
}

// closeIdle closes the connections idle since before t, all of them for the
// zero time.
func (h *host) closeIdle(t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for n < len(h.idle) && (t.IsZero() || !h.idle[n].idleSince.After(t)) {
		h.idle[n].close()
		n++
	}
	h.idle = append(h.idle[:0], h.idle[n:]...)
	clear(h.idle[len(h.idle) : len(h.idle)+n])
}

// unused reports whether nothing is open to the instance, nor about to be.
func (h *host) unused() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.busy == 0 && len(h.idle) == 0
}
