package sidechannel_test

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/sim/kv"
	"github.com/nomad-vllm/nomad-vllm/sim/sidechannel"
)

type holder struct{ done chan []string }

func (h holder) ReadBlocks(ids []int) ([][]kv.Slot, error) {
	out := make([][]kv.Slot, len(ids))
	for i, id := range ids {
		out[i] = []kv.Slot{kv.Slot(id), 7}
	}
	return out, nil
}
func (h holder) ReadDone(ids []string)  { h.done <- ids }
func (h holder) Heartbeat(ids []string) { h.done <- ids }

func server(t *testing.T, address string, wireBytes int) (*sidechannel.Server, string, holder) {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	require.NoError(t, err)
	h := holder{make(chan []string, 10)}
	s := sidechannel.Serve(ln, sidechannel.Meta{EngineID: "e", BlockSize: 2, WireBytes: wireBytes}, h)
	t.Cleanup(s.Close)
	return s, ln.Addr().String(), h
}

func peer(t *testing.T, address, engine string) *sidechannel.Peer {
	t.Helper()
	p := sidechannel.NewPeer((&net.Dialer{}).DialContext, address, engine)
	t.Cleanup(p.Close)
	return p
}

func TestPeer_readsBytesInProportionToTheTokens(t *testing.T) {
	_, address, h := server(t, "127.0.0.1:0", 100)
	p := peer(t, address, "e")
	require.NoError(t, p.Connect(t.Context()))
	blocks, bytes, err := p.Read(t.Context(), []int{3, 4, 5}, 2)
	require.NoError(t, err)
	require.Equal(t, [][]kv.Slot{{3, 7}, {4, 7}, {5, 7}}, blocks)
	require.Equal(t, 3*2*100, bytes)
	require.NoError(t, p.Done(t.Context(), "r"))
	require.Equal(t, []string{"r"}, <-h.done)
	_, _, err = p.Read(t.Context(), []int{1}, 16)
	require.ErrorContains(t, err, "block size 2 of the prefill, 16 here")
}

func TestPeer_refusesAnotherEngine(t *testing.T) {
	_, address, _ := server(t, "127.0.0.1:0", 0)
	begin := time.Now()
	require.ErrorIs(t, peer(t, address, "other").Connect(t.Context()), sidechannel.ErrEngineID)
	require.Less(t, time.Since(begin), time.Second)
}

func TestPeer_outlivesAConnectionButNotItsEngine(t *testing.T) {
	s, address, _ := server(t, "127.0.0.1:0", 0)
	p := peer(t, address, "e")
	require.NoError(t, p.Connect(t.Context()))
	s.Close()
	_, _, err := p.Read(t.Context(), []int{1}, 2)
	require.Error(t, err, "at once, with one attempt")
	server(t, address, 0)
	_, _, err = p.Read(t.Context(), []int{1}, 2)
	require.NoError(t, err)
}

func TestServer_hangsUpOnStrangers(t *testing.T) {
	_, address, _ := server(t, "127.0.0.1:0", 0)
	conn, err := net.Dial("tcp", address)
	require.NoError(t, err)
	defer conn.Close()
	_, err = conn.Write([]byte("GET / HTTP/1.1\r\n\r\n"))
	require.NoError(t, err)
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
	_, err = conn.Read(make([]byte, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
}

func TestConnect_endsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.Error(t, peer(t, "127.0.0.1:1", "e").Connect(ctx))
}
