package telemetry

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
)

const (
	soon  = 10 * time.Second
	often = 10 * time.Millisecond
)

// everything records each metric once, with each value of its label.
func everything(r *Recorder) {
	r.Running(2, 8)
	r.Started(30 * time.Millisecond)
	r.Ready(54 * time.Second)
	r.StopTook(6 * time.Second)
	for _, reason := range []string{Config, NotReady, Launch, Other} {
		r.StartFailed(reason)
	}
	for _, how := range []string{Stopped, Killed, Failed, OOM, Lost} {
		r.Ended(how)
	}
	r.Recovered(true)
	r.Recovered(false)
	for _, limit := range []string{"memory limit", "CPU limit", "CPU shares", "reserved cores"} {
		r.NotEnforced(limit)
	}
}

// scrape returns the samples of a page by name and labels.
func scrape(t *testing.T, url string) map[string]string {
	t.Helper()
	out := map[string]string{}
	require.Eventually(t, func() bool {
		resp, err := http.Get(url)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		page, err := io.ReadAll(resp.Body)
		if err != nil {
			return false
		}
		for line := range strings.Lines(string(page)) {
			if i := strings.LastIndex(line, " "); !strings.HasPrefix(line, "#") && i > 0 {
				out[line[:i]] = strings.TrimSpace(line[i:])
			}
		}
		return true
	}, soon, often)
	return out
}

// A plugin's last life may still hold the address: the new one waits for it.
func TestPrometheus_hasEveryMetricFromTheStart(t *testing.T) {
	old, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := old.Addr().String()
	r := New()
	r.Open(t.Context(), Settings{PrometheusListen: address}, hclog.NewNullLogger())
	require.NoError(t, old.Close())

	url := "http://" + address + "/metrics"
	before := scrape(t, url)
	names := map[string]bool{}
	for sample, value := range before {
		name, _, _ := strings.Cut(sample, "{")
		names[strings.TrimSuffix(strings.TrimSuffix(name, "_sum"), "_count")] = true
		require.Contains(t, []string{"0", "NaN"}, value, sample)
	}
	require.Len(t, names, len(Metrics()))
	for _, m := range Metrics() {
		require.True(t, names[Prefix+"_"+m.Name], m.Name)
	}

	everything(r)
	after := scrape(t, url)
	require.Len(t, after, len(before), "every label was known before")
	for sample, value := range after {
		require.NotEqual(t, "0", value, sample)
	}
	require.Equal(t, "8", after["nomad_driver_vllm_gpus"])
	require.Equal(t, "1", after[`nomad_driver_vllm_exits{how="oom"}`])
	require.Equal(t, "30", after["nomad_driver_vllm_start_time_sum"])
}

func TestStatsd_getsThem(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer conn.Close()
	r := New()
	r.Open(t.Context(), Settings{StatsdAddress: conn.LocalAddr().String()}, hclog.NewNullLogger())
	r.Ended(Lost)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(soon)))
	b := make([]byte, 1500)
	n, _, err := conn.ReadFrom(b)
	require.NoError(t, err)
	require.Contains(t, string(b[:n]), "nomad_driver_vllm.exits.lost:1.000000|c")
}

func TestStatsite_getsThem(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	r := New()
	r.Open(t.Context(), Settings{StatsiteAddress: l.Addr().String()}, hclog.NewNullLogger())
	r.Running(3, 4)
	conn, err := l.Accept()
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(soon)))
	b := make([]byte, 1500)
	n, err := conn.Read(b)
	require.NoError(t, err)
	require.Contains(t, string(b[:n]), "nomad_driver_vllm.tasks:3.000000|g")
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestSignal_dumpsThemIntoTheLog(t *testing.T) {
	var log buffer
	r := newRecorder(50*time.Millisecond, time.Minute)
	r.Open(t.Context(), Settings{}, hclog.New(&hclog.LoggerOptions{Output: &log}))
	r.Ended(OOM)
	require.Eventually(t, func() bool { // an interval that is still going on is not dumped
		r.Recovered(true)
		require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGUSR1))
		return regexp.MustCompile(`metric: value=.*nomad_driver_vllm\.exits\.oom.*Count: 1`).MatchString(log.String())
	}, soon, 5*often, log.String())
}

func TestSettings_mistakesAreNamed(t *testing.T) {
	require.NoError(t, Settings{}.Validate())
	err := Settings{StatsdAddress: "localhost", StatsiteAddress: "127.0.0.1:", PrometheusListen: ":9464"}.Validate()
	for _, want := range []string{
		`telemetry.statsd_address = "localhost": want host:port`,
		`telemetry.statsite_address = "127.0.0.1:": want host:port`,
		`telemetry.prometheus_listen = ":9464": name the address; 127.0.0.1 for this node only`,
	} {
		require.ErrorContains(t, err, want)
	}
}

// The documentation lists what there is, no more and no less.
func TestDocs_listEveryMetric(t *testing.T) {
	doc, err := os.ReadFile("../../docs/driver.md")
	require.NoError(t, err)
	var want, got []string
	for _, m := range Metrics() {
		label := ""
		for i, v := range m.Values {
			if i == 0 {
				label = "`" + m.Label + "`: "
			} else {
				label += ", "
			}
			label += v
		}
		want = append(want, "| `"+Prefix+"_"+m.Name+"` | "+m.Kind+" | "+label+" | "+m.Meaning+" |")
	}
	for line := range strings.Lines(string(doc)) {
		if strings.HasPrefix(line, "| `"+Prefix+"_") {
			got = append(got, strings.TrimSpace(line))
		}
	}
	require.Equal(t, want, got)
}
