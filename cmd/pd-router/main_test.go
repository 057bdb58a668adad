package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	waitFor = 5 * time.Second
	tick    = 2 * time.Millisecond
)

// output is what a running command has written so far.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// command is a running pd-router.
type command struct {
	url  string
	log  *output
	stop context.CancelFunc
	code chan int
}

func start(t *testing.T, env map[string]string, args ...string) *command {
	ctx, stop := context.WithCancel(context.Background())
	c := &command{log: &output{}, stop: stop, code: make(chan int, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.code <- run(ctx, func() {}, append([]string{"-listen", "127.0.0.1:0"}, args...), func(k string) string { return env[k] }, c.log, c.log)
	}()
	t.Cleanup(func() { stop(); <-done })
	listening := regexp.MustCompile(`listening: address=(\S+)`)
	require.Eventually(t, func() bool {
		m := listening.FindStringSubmatch(c.log.String())
		if m != nil {
			c.url = "http://" + m[1]
		}
		return m != nil
	}, waitFor, tick, c.log)
	return c
}

func (c *command) exit(t *testing.T) int {
	t.Helper()
	select {
	case code := <-c.code:
		return code
	case <-time.After(waitFor):
		t.Fatalf("did not stop:\n%s", c.log)
		return -1
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	resp, err := http.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(b)
}

func TestRun_withoutConsulItServesAndKeepsTrying(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	c := start(t, nil, "-consul-addr", addr)
	require.Eventually(t, func() bool { return strings.Contains(c.log.String(), "consul cannot be read") }, waitFor, tick)
	status, body := get(t, c.url+"/ready")
	require.Equal(t, 503, status)
	require.Contains(t, body, "connection refused")
	status, _ = get(t, c.url+"/health")
	require.Equal(t, 200, status)
	c.stop()
	require.Equal(t, exitOK, c.exit(t))
}

func TestRun_findsInstancesInConsul(t *testing.T) {
	consul := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Consul-Index", "7")
		w.Header().Set("X-Consul-KnownLeader", "true")
		if r.URL.Query().Get("index") == "7" {
			<-r.Context().Done()
			return
		}
		entry := map[string]any{
			"Node":    map[string]any{"Node": "n1", "Address": "127.0.0.1"},
			"Service": map[string]any{"ID": "d", "Service": "mine", "Port": 1, "Tags": []string{"pd.role=decode"}, "Meta": map[string]string{"pd_model": "m"}},
		}
		if r.URL.Path != "/v1/health/service/mine" {
			entry = nil
		}
		_ = json.NewEncoder(w).Encode([]any{entry})
	}))
	t.Cleanup(func() { consul.CloseClientConnections(); consul.Close() })
	t.Setenv("CONSUL_HTTP_ADDR", consul.URL)
	c := start(t, nil, "-consul-service", "mine", "-admin", "127.0.0.1:0")
	require.Eventually(t, func() bool { status, _ := get(t, c.url+"/ready"); return status == 200 }, waitFor, tick)
	admin := regexp.MustCompile(`operators are served: address=(\S+)`).FindStringSubmatch(c.log.String())
	require.NotNil(t, admin, c.log)
	_, page := get(t, "http://"+admin[1]+"/status")
	require.Contains(t, page, `"id": "n1/d"`)
}

func TestRun_reportsEveryWrongSettingAtOnce(t *testing.T) {
	var out output
	code := run(t.Context(), func() {}, []string{"-listen", "nope", "-prefill", "ftp://x", "-drain-timeout", "-1s", "-log-level", "loud", "-max-body", "5",
		"-prefill-tries", "0", "-consul-addr", "x", "extra"}, func(string) string { return "" }, &out, &out)
	require.Equal(t, exitUsage, code)
	for _, want := range []string{`-listen "nope"`, `"ftp"`, "-drain-timeout is -1s", `-log-level "loud"`, "request body is 5", "-prefill-tries is 0", "turn Consul off", "-prefill without -decode", `"extra" is not a flag`} {
		require.Contains(t, out.String(), want)
	}
}

func TestRun_helpAndVersion(t *testing.T) {
	var out output
	require.Equal(t, exitOK, run(t.Context(), func() {}, []string{"-h"}, func(string) string { return "" }, &out, &out))
	for _, want := range []string{"-consul-service", "CONSUL_HTTP_ADDR", "default 32MiB", "Exit codes"} {
		require.Contains(t, out.String(), want)
	}
	out = output{}
	require.Equal(t, exitOK, run(t.Context(), func() {}, []string{"-version"}, func(string) string { return "" }, &out, &out))
	require.Equal(t, "pd-router "+version+"\n", out.String())
}

func TestRun_instancesWithACertificateOfTheirOwn(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"answer":"safe"}`) }))
	t.Cleanup(s.Close)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600))
	ask := func(args ...string) (int, string) {
		c := start(t, nil, append([]string{"-decode", s.URL}, args...)...)
		resp, err := http.Post(c.url+"/v1/completions", "application/json", strings.NewReader(`{"prompt":"x"}`))
		require.NoError(t, err)
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}
	status, body := ask("-upstream-ca", ca)
	require.Equal(t, 200, status, body)
	require.Contains(t, body, "safe")
	status, body = ask()
	require.Equal(t, 503, status)
	require.Contains(t, body, "certificate")
	var out output
	require.Equal(t, exitUsage, run(t.Context(), func() {}, []string{"-decode", s.URL, "-upstream-ca", "main_test.go"}, func(string) string { return "" }, &out, &out))
	require.Contains(t, out.String(), "no certificate in PEM")
}

func TestRun_addressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	var out output
	require.Equal(t, exitFailed, run(t.Context(), func() {}, []string{"-listen", l.Addr().String(), "-decode", "x:1"}, func(string) string { return "" }, &out, &out))
	require.Contains(t, out.String(), "address already in use")
}

func TestParse_listsOfInstances(t *testing.T) {
	for _, args := range [][]string{
		{"-prefill", "a:1", "b:1", "-decode", "c:1", "d:1", "-log-json"},
		{"--prefill", "a:1", "--prefill", "b:1", "--decode=c:1,d:1", "-log-json"},
		{"-prefill=a:1, b:1", "-decode", "c:1", "-decode", "d:1", "-log-json"},
	} {
		s, err := parse(args, func(string) string { return "" }, io.Discard)
		require.NoError(t, err, args)
		require.Equal(t, addresses{"a:1", "b:1"}, s.prefill)
		require.Equal(t, addresses{"c:1", "d:1"}, s.decode)
		require.True(t, s.logJSON)
	}
}

func TestParse_upstreamKeyFromFlagOrEnvironment(t *testing.T) {
	env := func(k string) string { return map[string]string{"PD_ROUTER_UPSTREAM_API_KEY": "from-env"}[k] }
	s, err := parse(nil, env, io.Discard)
	require.NoError(t, err)
	require.Equal(t, "from-env", s.router.UpstreamAPIKey.Reveal())
	s, err = parse([]string{"-upstream-api-key", "from-flag"}, env, io.Discard)
	require.NoError(t, err)
	require.Equal(t, "from-flag", s.router.UpstreamAPIKey.Reveal())
	require.NotContains(t, fmt.Sprintf("%v %+v", s, s), "from-flag")
}

func TestByteSize_reads(t *testing.T) {
	for in, want := range map[string]int64{"1024": 1024, "2KiB": 2048, "32MiB": 32 << 20, "1GiB": 1 << 30} {
		var b byteSize
		require.NoError(t, b.Set(in))
		require.EqualValues(t, want, b)
	}
	for _, bad := range []string{"", "x", "-1", "5MB", "99999999999GiB"} {
		var b byteSize
		require.Error(t, b.Set(bad), bad)
	}
}
