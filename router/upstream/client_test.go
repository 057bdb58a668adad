package upstream

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDo_refusedIsNotSent(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	c := New(time.Second)
	defer c.Close()
	_, err = c.Do(t.Context(), http.MethodPost, "http://"+l.Addr().String()+"/x", http.Header{}, []byte("body"))
	var e *Error
	require.ErrorAs(t, err, &e)
	require.True(t, e.NotSent)
}

func TestDo_brokenConnectionMayHaveBeenSeenAndIsNotRepeated(t *testing.T) {
	var seen atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if seen.Add(1) == 1 {
			return // the connection is kept for the next request
		}
		panic(http.ErrAbortHandler)
	}))
	defer s.Close()
	c := New(time.Second)
	defer c.Close()
	send := func() error {
		resp, err := c.Do(t.Context(), http.MethodPost, s.URL, http.Header{}, []byte("body"))
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	require.NoError(t, send())
	var e *Error
	require.ErrorAs(t, send(), &e)
	require.False(t, e.NotSent)
	require.EqualValues(t, 2, seen.Load(), "net/http must not send a POST again by itself")
}

func TestDo_contextsCauseIsTheError(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-r.Context().Done():
		}
	}))
	defer s.Close()
	defer close(release)
	why := errors.New("enough")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, why)
	defer cancel()
	c := New(time.Second)
	defer c.Close()
	_, err := c.Do(ctx, http.MethodGet, s.URL, http.Header{}, nil)
	require.ErrorIs(t, err, why)
}

func TestDo_doesNotAskForCompression(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("Accept-Encoding")+r.Proto)
	}))
	defer s.Close()
	c := New(time.Second)
	defer c.Close()
	resp, err := c.Do(t.Context(), http.MethodGet, s.URL, http.Header{}, nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	require.Equal(t, "HTTP/1.1", string(b))
}

func TestNew_closesIdleConnectionsBeforeVLLMDoes(t *testing.T) {
	require.Less(t, New(time.Second).transport.IdleConnTimeout, 5*time.Second)
}
