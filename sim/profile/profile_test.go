package profile_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/sim/profile"
)

func TestByName(t *testing.T) {
	p, err := profile.ByName("")
	require.NoError(t, err)
	require.Equal(t, profile.Fast(), p)
	_, err = profile.ByName("slow")
	require.ErrorContains(t, err, "want one of fast, h200-llama-8b")
}

func TestFast_isFast(t *testing.T) {
	p := profile.Fast()
	require.LessOrEqual(t, p.Load, time.Second)
	require.Less(t, p.Pass([]profile.Work{{Tokens: 2000}}), 20*time.Millisecond)
	require.Less(t, p.Handshake+p.Transfer(2000)+p.Receipt(2000), 20*time.Millisecond)
}

func TestScale_slowsEverythingButLoading(t *testing.T) {
	p := profile.Fast()
	q := p.Scale(10)
	work := []profile.Work{{Tokens: 100}, {Tokens: 1, Context: 50}}
	require.InDelta(t, float64(10*p.Pass(work)), float64(q.Pass(work)), 100)
	require.InDelta(t, float64(10*p.Transfer(1000)), float64(q.Transfer(1000)), 100)
	require.Equal(t, p.Load, q.Load)
}
