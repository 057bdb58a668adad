package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFailures plays the rows of docs/failures.md in which the router itself
// is told to stop; the others are played in package router.
func TestFailures(t *testing.T) {
	for _, r := range []struct {
		id   string
		play func(t *testing.T)
	}{
		{id: "router-stops", play: routerStops},
		{id: "router-stops-overrun", play: routerStopsOverrun},
	} {
		t.Run(r.id, r.play)
	}
}

// decode is an instance that answers once release is closed: a stream, of which
// one token comes before, or else JSON.
func decode(t *testing.T, arrived chan<- struct{}, release <-chan struct{}) (url string, gone <-chan struct{}) {
	left := make(chan struct{}, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if strings.Contains(string(b), `"stream":true`) {
			w.Header().Set("Content-Type", "text/event-stream")
			fmt.Fprint(w, "data: {\"choices\":[{\"text\":\"one\"}]}\n\n")
			_ = http.NewResponseController(w).Flush()
		}
		arrived <- struct{}{}
		select {
		case <-release:
			fmt.Fprint(w, `{"answer":"whole"}`)
		case <-r.Context().Done():
			left <- struct{}{}
		}
	}))
	t.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	return s.URL, left
}

// ask sends a request in the background; the channel gets status and answer.
func (c *command) ask(body string) <-chan string {
	answer := make(chan string, 1)
	go func() {
		resp, err := http.Post(c.url+"/v1/completions", "application/json", strings.NewReader(body))
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			b = append(b, err.Error()...)
		}
		answer <- resp.Status + " " + string(b)
	}()
	return answer
}

func routerStops(t *testing.T) {
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	url, _ := decode(t, arrived, release)
	c := start(t, nil, "-decode", url)
	status, body := get(t, c.url+"/ready")
	require.Equal(t, 200, status, body)
	answer := c.ask(`{"prompt":"x"}`)
	<-arrived
	c.stop()
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", strings.TrimPrefix(c.url, "http://"))
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	}, waitFor, tick, "accepts nothing new")
	close(release)
	require.Equal(t, `200 OK {"answer":"whole"}`, <-answer)
	require.Equal(t, exitOK, c.exit(t))
}

func routerStopsOverrun(t *testing.T) {
	arrived := make(chan struct{}, 2)
	url, gone := decode(t, arrived, nil)
	c := start(t, nil, "-decode", url, "-drain-timeout", "300ms")
	whole, stream := c.ask(`{"prompt":"x"}`), c.ask(`{"prompt":"x","stream":true}`)
	<-arrived
	<-arrived
	c.stop()
	told := <-stream
	require.Contains(t, told, `"one"`)
	require.Contains(t, told, "the router is stopping")
	require.True(t, strings.HasSuffix(told, "data: [DONE]\n\n"), told)
	told = <-whole
	require.Contains(t, told, "503 Service Unavailable")
	require.Contains(t, told, "the router is stopping")
	<-gone
	<-gone
	require.Equal(t, exitFailed, c.exit(t))
	require.Contains(t, c.log.String(), "still running at the drain timeout")
	require.Contains(t, c.log.String(), "status=503")
}
