package buffer

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

func TestGet_isLargeEnough(t *testing.T) {
	var p Pool
	for _, n := range []int{0, 1, smallest, smallest + 1, 220 << 10, 32 << 20, 100 << 20} {
		b := p.Get(n)
		require.GreaterOrEqual(t, len(b.B), n)
		b.B = b.B[:1]
		b.Free()
		again := p.Get(n)
		require.GreaterOrEqual(t, len(again.B), n, "what comes back is lent whole")
	}
	(*Buffer)(nil).Free()
}

func TestReadAll_readsWhole(t *testing.T) {
	var p Pool
	for _, size := range []int{0, 1, smallest - 1, smallest, smallest + 1, 220 << 10, 5 << 20} {
		want := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
		for _, length := range []int64{-1, 0, int64(size), int64(size) + 5, 1} {
			b, err := p.ReadAll(bytes.NewReader(want), length, int64(size))
			require.NoError(t, err)
			require.True(t, bytes.Equal(want, b.B), "%d bytes, %d claimed", size, length)
			b.Free()
		}
	}
}

func TestReadAll_claimCostsLittle(t *testing.T) {
	var p Pool
	b, err := p.ReadAll(strings.NewReader("x"), 1<<40, 1<<41)
	require.NoError(t, err)
	require.LessOrEqual(t, cap(b.B), 4*trusted)
}

func TestReadAll_refusesTooMuchAndPassesErrorsOn(t *testing.T) {
	var p Pool
	for _, length := range []int64{-1, 10, 11} {
		_, err := p.ReadAll(strings.NewReader("0123456789a"), length, 10)
		require.ErrorIs(t, err, ErrTooLarge)
	}
	endless := io.MultiReader(strings.NewReader("x"), zeros{})
	_, err := p.ReadAll(endless, -1, 100_000)
	require.ErrorIs(t, err, ErrTooLarge)
	cut := errors.New("cut")
	_, err = p.ReadAll(io.MultiReader(strings.NewReader("x"), iotest.ErrReader(cut)), 5, 10)
	require.ErrorIs(t, err, cut)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
