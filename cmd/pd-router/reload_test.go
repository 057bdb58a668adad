package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/router/admit"
)

func ask(t *testing.T, url, key string) int {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, url+"/v1/completions", strings.NewReader(`{"prompt":"x"}`))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	return resp.StatusCode
}

// answers is an instance that answers at once.
func answers(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"choices":[{"text":"a"}]}`) }))
	t.Cleanup(s.Close)
	return s.URL
}

func TestReload_byHangup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "router.hcl")
	write := func(text string) { require.NoError(t, os.WriteFile(path, []byte(text), 0o600)) }
	keyed := func(name string) string { return fmt.Sprintf("key %q { sha256 = %q }\n", name, admit.Hash(name)) }
	write(keyed("old"))
	c := start(t, nil, "-config", path, "-decode", answers(t), "-admin", "")
	require.Equal(t, 200, ask(t, c.url, "old"))
	require.Equal(t, 401, ask(t, c.url, "new"))

	hangup := func(says string) {
		before := strings.Count(c.log.String(), says)
		require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
		require.Eventually(t, func() bool { return strings.Count(c.log.String(), says) > before }, waitFor, tick, c.log)
	}
	write(keyed("new") + "key \"broken\" { sha256 = \"x\" }\n")
	hangup("the old ones stay")
	require.Equal(t, 200, ask(t, c.url, "old"), "a mistake changes nothing")
	write(keyed("new") + "slow_start = \"7s\"\n")
	hangup("settings were read again")
	require.Equal(t, 401, ask(t, c.url, "old"))
	require.Equal(t, 200, ask(t, c.url, "new"))
	require.Contains(t, c.log.String(), "needs_restart=[\"-slow-start\"]")
	hangup("settings were read again")
	require.Equal(t, 2, strings.Count(c.log.String(), "-slow-start"), "it is not in force yet")
}

func TestFile_keys(t *testing.T) {
	s, err := parseWith(t, fmt.Sprintf(`
key "a" {
  sha256      = %q
  priority    = "high"
  max_running = 3
  max_waiting = 4
  rate        = 2.5
}
`, admit.Hash("k")))
	require.NoError(t, err)
	require.Equal(t, []admit.Key{{Name: "a", SHA256: admit.Hash("k"), Priority: admit.High, MaxRunning: 3, MaxWaiting: 4, Rate: 2.5}}, s.router.Keys)
	_, err = parseWith(t, `
key { }
key "a" {
  priority = "urgent"
  rate     = "fast"
  limit    = 1
  more { }
}
`)
	require.EqualError(t, err, strings.TrimSpace(`
router.hcl:2,1: key: want one label, the name, like key "team-a" {}
router.hcl:4,14: key.priority = "urgent": priority "urgent": want low, normal or high
router.hcl:5,14: key.rate = "fast": want a number
router.hcl:6,3: key.limit: no such setting; there are max_running, max_waiting, priority, rate, sha256
router.hcl:7,3: more: no block may be in key`))
}

// newCertificate writes a self-signed pair for the loopback address.
func newCertificate(t *testing.T) (cert, key string, roots *x509.CertPool) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	require.NoError(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600))
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots = x509.NewCertPool()
	roots.AddCert(parsed)
	return cert, key, roots
}

func TestRun_servesTLSAndHTTP2(t *testing.T) {
	cert, key, roots := newCertificate(t)
	c := start(t, nil, "-decode", answers(t), "-tls-cert", cert, "-tls-key", key, "-admin", "")
	for _, h2 := range []bool{false, true} {
		client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: h2, TLSClientConfig: &tls.Config{RootCAs: roots}}}
		resp, err := client.Post(strings.Replace(c.url, "http:", "https:", 1)+"/v1/completions", "application/json", strings.NewReader(`{"prompt":"x"}`))
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		require.Equal(t, h2, resp.ProtoMajor == 2)
		require.Equal(t, "local", resp.Header.Get("X-Pd-Path"))
		resp.Body.Close()
		client.CloseIdleConnections()
	}
	_, err := parse([]string{"-tls-cert", cert}, func(string) string { return "" }, &output{})
	require.ErrorContains(t, err, "-tls-cert and -tls-key belong together")
}

// TestRun_secondRouterTakesOver: it gets the listener itself, and the first one
// finishes and exits; no request fails.
func TestRun_secondRouterTakesOver(t *testing.T) {
	instance := answers(t)
	path := filepath.Join(t.TempDir(), "router.sock")
	first := start(t, nil, "-decode", instance, "-takeover", path, "-admin", "")
	ctx, stop := context.WithCancel(t.Context())
	var good, bad atomic.Int64
	var problem atomic.Value
	done := make(chan struct{})
	for range 4 {
		go func() {
			defer func() { done <- struct{}{} }()
			client := &http.Client{Transport: &http.Transport{}}
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				resp, err := client.Post(first.url+"/v1/completions", "application/json", bytes.NewReader([]byte(`{"prompt":"x"}`)))
				if err != nil || resp.StatusCode != 200 {
					bad.Add(1)
					problem.Store(fmt.Sprint(resp, err))
				} else {
					good.Add(1)
				}
				if err == nil {
					resp.Body.Close()
				}
			}
		}()
	}
	require.Eventually(t, func() bool { return good.Load() > 50 }, waitFor, tick)
	second := start(t, nil, "-decode", instance, "-takeover", path, "-admin", "")
	require.Equal(t, exitOK, first.exit(t))
	since := good.Load()
	require.Eventually(t, func() bool { return good.Load() > since+50 }, waitFor, tick, second.log)
	stop()
	for range 4 {
		<-done
	}
	require.Equal(t, first.url, second.url)
	require.Zero(t, bad.Load(), "%v", problem.Load())
}
