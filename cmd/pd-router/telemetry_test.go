package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A request that is finished after the signal is counted as well.
func TestTelemetry_statsdIsToldOfTheLastRequest(t *testing.T) {
	statsd, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer statsd.Close()
	arrived, finish := make(chan struct{}), make(chan struct{})
	decode := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			http.NotFound(w, r) // it lists no models
			return
		}
		close(arrived)
		<-finish
		fmt.Fprint(w, `{"choices":[{"text":"a"}]}`)
	}))
	defer decode.Close()
	path := filepath.Join(t.TempDir(), "router.hcl")
	require.NoError(t, os.WriteFile(path, []byte(`telemetry { statsd_address = "`+statsd.LocalAddr().String()+`" }`), 0o600))
	c := start(t, nil, "-config", path, "-decode", decode.URL, "-admin", "")
	answer := make(chan int, 1)
	go func() { answer <- ask(t, c.url, "") }()
	<-arrived
	c.stop()
	require.Eventually(t, func() bool { return strings.Contains(c.log.String(), "finishing requests in flight") }, waitFor, tick)
	<-time.After(100 * time.Millisecond) // in which it could have been told too early
	close(finish)
	require.Equal(t, 200, <-answer)
	require.Equal(t, exitOK, c.exit(t))
	var got strings.Builder
	for !strings.Contains(got.String(), "pd_router.requests_total.200.local.") {
		require.NoError(t, statsd.SetReadDeadline(time.Now().Add(50*time.Millisecond)), "the process is gone: all is here")
		b := make([]byte, 2000)
		n, _, err := statsd.ReadFrom(b)
		require.NoError(t, err, got.String())
		got.Write(b[:n])
	}
}

func TestTelemetry_mistakesAreNamed(t *testing.T) {
	_, err := parseWith(t, `telemetry { statsite_address = "localhost" }`)
	require.EqualError(t, err, `-statsite-address "localhost": want host:port, for example 127.0.0.1:8125`)
}

func TestTelemetry_anAgentThatIsAwayIsSaidInTheLog(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	c := start(t, nil, "-decode", answers(t), "-admin", "", "-statsite-address", address)
	require.Eventually(t, func() bool {
		return strings.Contains(c.log.String(), "[ERROR] pd-router.telemetry: Error connecting to statsite")
	}, waitFor, tick, c.log)
	require.Equal(t, 200, ask(t, c.url, ""))
	c.stop()
	require.Equal(t, exitOK, c.exit(t))
}
