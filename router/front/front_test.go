package front

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
)

func TestTake_nobodyOffers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "router.sock")
	l, _, err := Take(path)
	require.NoError(t, err)
	require.Nil(t, l)
	stale, err := net.Listen("unix", path)
	require.NoError(t, err)
	stale.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, stale.Close())
	l, _, err = Take(path)
	require.NoError(t, err, "a dead router's socket is nobody's")
	require.Nil(t, l)
}

func TestTake_connectionsThatWaitAreNotLost(t *testing.T) {
	path := filepath.Join(t.TempDir(), "router.sock")
	first, err := Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	taken := make(chan struct{})
	stop, err := Offer(path, first, func() { close(taken) })
	require.NoError(t, err)
	defer stop()
	var waiting []net.Conn
	for range 20 {
		c, err := net.Dial("tcp", first.Addr().String())
		require.NoError(t, err)
		waiting = append(waiting, c)
	}
	second, served, err := Take(path)
	require.NoError(t, err)
	require.Equal(t, first.Addr().String(), second.Addr().String())
	stopSecond, err := Offer(path, second, func() {})
	require.NoError(t, err, "and is offered on")
	defer stopSecond()
	require.NoError(t, served())
	<-taken
	require.NoError(t, first.Close())
	for _, c := range waiting {
		got, err := second.Accept()
		require.NoError(t, err)
		require.NoError(t, got.Close())
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF, "accepted and closed, not reset")
		c.Close()
	}
	require.NoError(t, second.Close())
}

func TestTake_oneThatDoesNotServeLeavesTheFirstInPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "router.sock")
	first, err := Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	defer first.Close()
	taken := make(chan struct{}, 1)
	stop, err := Offer(path, first, func() { taken <- struct{}{} })
	require.NoError(t, err)
	defer stop()
	conn, err := net.Dial("unix", path)
	require.NoError(t, err)
	require.NoError(t, conn.Close()) // it died before it served
	second, served, err := Take(path)
	require.NoError(t, err)
	require.Empty(t, taken)
	require.NoError(t, served())
	<-taken
	require.NoError(t, second.Close())
}

func TestListen_namesTheAddress(t *testing.T) {
	l, err := Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, err = Listen(t.Context(), l.Addr().String())
	require.ErrorContains(t, err, "listen on "+l.Addr().String())
}

// pair writes a self-signed certificate of that name.
func pair(t *testing.T, dir, name string, notAfter time.Time) (cert, key string) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(notAfter.Unix()), Subject: pkix.Name{CommonName: name}, NotAfter: notAfter,
		DNSNames: []string{name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	require.NoError(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}), 0o600))
	return cert, key
}

func TestCertificate_isReadAgainWhenItChanges(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	soon, late := time.Now().Add(time.Hour), time.Now().Add(48*time.Hour)
	certFile, keyFile := pair(t, dir, "first", soon)
	c, err := LoadCertificate(certFile, keyFile, hclog.NewNullLogger())
	require.NoError(t, err)
	now := time.Now()
	c.now = func() time.Time { return now }
	name := func() string {
		now = now.Add(lookEvery)
		got, err := c.Get(nil)
		require.NoError(t, err)
		return got.Leaf.Subject.CommonName
	}
	require.Equal(t, "first", name())

	newCert, newKey := pair(t, other, "second", late)
	replace := func(from, to string) {
		require.NoError(t, os.Chtimes(from, late, late)) // the clock of some file systems is coarse
		require.NoError(t, os.Rename(from, to))
	}
	replace(newCert, certFile)
	require.Equal(t, "first", name(), "the key does not fit yet")
	replace(newKey, keyFile)
	require.Equal(t, "second", name())
	require.NoError(t, os.Remove(keyFile))
	require.Equal(t, "second", name(), "it serves on from memory")
}

func TestCertificate_servesHTTP2(t *testing.T) {
	certFile, keyFile := pair(t, t.TempDir(), "localhost", time.Now().Add(time.Hour))
	c, err := LoadCertificate(certFile, keyFile, hclog.NewNullLogger())
	require.NoError(t, err)
	l, err := Listen(t.Context(), "127.0.0.1:0")
	require.NoError(t, err)
	server := &http.Server{TLSConfig: c.TLS(), Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.Proto)) })}
	defer server.Close()
	go func() { _ = server.ServeTLS(l, "", "") }()

	roots := x509.NewCertPool()
	raw, err := os.ReadFile(certFile)
	require.NoError(t, err)
	require.True(t, roots.AppendCertsFromPEM(raw))
	client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots}}}
	defer client.CloseIdleConnections()
	resp, err := client.Get("https://" + l.Addr().String())
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, 2, resp.ProtoMajor)
}

func TestLoadCertificate_namesTheFiles(t *testing.T) {
	certFile, keyFile := pair(t, t.TempDir(), "a", time.Now().Add(time.Hour))
	_, err := LoadCertificate(certFile, "/nowhere/key.pem", hclog.NewNullLogger())
	require.ErrorContains(t, err, "/nowhere/key.pem")
	_, err = LoadCertificate(keyFile, keyFile, hclog.NewNullLogger())
	require.ErrorContains(t, err, "certificate "+keyFile)
}
