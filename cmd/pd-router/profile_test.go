package main

import (
	"net/http"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestProfiles_areServedApartFromRequests(t *testing.T) {
	c := start(t, nil, "-decode", "http://127.0.0.1:1", "-pprof", "127.0.0.1:0")
	m := regexp.MustCompile(`profiles: url=(\S+)`).FindStringSubmatch(c.log.String())
	require.NotNil(t, m, c.log)
	code, heap := get(t, m[1]+"heap?debug=1")
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, heap, "heap profile:")
	code, _ = get(t, c.url+"/debug/pprof/")
	require.Equal(t, http.StatusNotFound, code, "the public listener has none")
	c.stop()
	require.Equal(t, exitOK, c.exit(t))
	_, err := http.Get(m[1])
	require.Error(t, err, "they end with the router")
}

func TestProfiles_stayOnTheMachine(t *testing.T) {
	for addr, want := range map[string]bool{
		"127.0.0.1:6060": true, "[::1]:6060": true, "localhost:0": true,
		":6060": false, "0.0.0.0:6060": false, "10.0.0.1:6060": false, "127.0.0.1": false,
	} {
		require.Equal(t, want, loopback(addr), addr)
	}
}
