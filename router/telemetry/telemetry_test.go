package telemetry

import (
	"context"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/armon/go-metrics"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
)

const soon = 10 * time.Second

// router has one metric of each kind.
type router struct {
	*prometheus.Registry
	requests *prometheus.CounterVec
	depth    *prometheus.GaugeVec
	first    prometheus.Histogram
}

func newRouter() router {
	r := router{
		Registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "pd_router_requests_total"}, []string{"path", "reason", "code"}),
		depth:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "pd_router_queue_depth"}, []string{"model", "role"}),
		first:    prometheus.NewHistogram(prometheus.HistogramOpts{Name: "pd_router_first_seconds"}),
	}
	goroutines := prometheus.NewGauge(prometheus.GaugeOpts{Name: "go_goroutines"})
	r.MustRegister(r.requests, r.depth, r.first, goroutines)
	return r
}

// lines are a sink that keeps what it is sent.
type lines struct {
	metrics.BlackholeSink
	got map[string]float32
}

func (l *lines) put(kind string, key []string, v float32, labels []metrics.Label) {
	for _, x := range labels {
		key = append(key, x.Name+"="+x.Value)
	}
	l.got[kind+" "+strings.Join(key, " ")] += v
}

func (l *lines) SetGaugeWithLabels(key []string, v float32, labels []metrics.Label) {
	l.put("gauge", key, v, labels)
}

func (l *lines) IncrCounterWithLabels(key []string, v float32, labels []metrics.Label) {
	l.put("counter", key, v, labels)
}

func TestSend_growthOfCountersAndValuesOfGauges(t *testing.T) {
	r := newRouter()
	var last sent
	send := func() map[string]float32 {
		families, err := r.Gather()
		require.NoError(t, err)
		to := &lines{got: map[string]float32{}}
		last = last.send(families, to)
		return to.got
	}
	r.requests.WithLabelValues("local", "short_prompt", "200").Add(3)
	r.requests.WithLabelValues("disaggregated", "", "200")
	r.depth.WithLabelValues("meta/Llama-3.1:8B|c\nx", "decode").Set(7)
	r.first.Observe(.5)
	const depth = "gauge pd_router queue_depth model=meta_Llama-3_1_8B_c_x role=decode"
	require.Equal(t, map[string]float32{
		"counter pd_router requests_total code=200 path=local reason=short_prompt": 3, depth: 7,
		"counter pd_router first_seconds_count": 1,
		"counter pd_router first_seconds_sum":   .5,
	}, send(), "nothing of what did not happen, nothing of Go's")

	r.requests.WithLabelValues("local", "short_prompt", "200").Add(2)
	r.requests.WithLabelValues("disaggregated", "", "200").Inc()
	require.Equal(t, map[string]float32{
		"counter pd_router requests_total code=200 path=local reason=short_prompt": 2, depth: 7,
		"counter pd_router requests_total code=200 path=disaggregated reason=none": 1,
	}, send())

	r.depth.Reset()
	require.Equal(t, map[string]float32{depth: 0}, send(), "statsd would keep the seven")
	require.Empty(t, send())
}

// began is Run in the background.
func began(t *testing.T, s Settings, r router, every time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); run(ctx, s, r, hclog.NewNullLogger(), every) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func TestRun_statsdGetsEachIntervalAndTheLastWord(t *testing.T) {
	statsd, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer statsd.Close()
	packet := func() string {
		require.NoError(t, statsd.SetReadDeadline(time.Now().Add(soon)))
		b := make([]byte, 2000)
		n, _, err := statsd.ReadFrom(b)
		require.NoError(t, err)
		return string(b[:n])
	}
	r := newRouter()
	r.requests.WithLabelValues("local", "short_prompt", "200").Add(3)
	stop := began(t, Settings{StatsdAddress: statsd.LocalAddr().String()}, r, 10*time.Millisecond)
	require.Equal(t, "pd_router.requests_total.200.local.short_prompt:3.000000|c\n", packet())
	stop()

	stop = began(t, Settings{StatsdAddress: statsd.LocalAddr().String()}, r, time.Hour)
	stop()
	require.Contains(t, packet(), "short_prompt:3.000000|c", "what came after the last interval is sent before the end")
}

func TestRun_statsiteGetsThem(t *testing.T) {
	statsite, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer statsite.Close()
	r := newRouter()
	r.depth.WithLabelValues("m", "prefill").Set(4)
	began(t, Settings{StatsiteAddress: statsite.Addr().String()}, r, 10*time.Millisecond)
	conn, err := statsite.Accept()
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(soon)))
	b := make([]byte, 1500)
	n, err := conn.Read(b)
	require.NoError(t, err)
	require.Contains(t, string(b[:n]), "pd_router.queue_depth.m.prefill:4.000000|g\n")
}

func TestRun_leavesNoGoroutine(t *testing.T) {
	stop := began(t, Settings{StatsdAddress: "127.0.0.1:9", StatsiteAddress: "127.0.0.1:9"}, newRouter(), time.Hour)
	stop()
	require.Eventually(t, func() bool {
		b := make([]byte, 1<<20)
		return !strings.Contains(string(b[:runtime.Stack(b, true)]), "flushMetrics")
	}, soon, 10*time.Millisecond)
}

func TestSettings_mistakesAreNamed(t *testing.T) {
	require.NoError(t, Settings{}.Validate())
	require.NoError(t, Settings{StatsdAddress: "127.0.0.1:8125", StatsiteAddress: "[::1]:8125"}.Validate())
	err := Settings{StatsdAddress: "localhost", StatsiteAddress: ":8125"}.Validate()
	require.EqualError(t, err, `-statsd-address "localhost": want host:port, for example 127.0.0.1:8125
-statsite-address ":8125": want host:port, for example 127.0.0.1:8125`)
}
