//go:build amd64 && !purego

package body

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestClassify_seesEachByteEverywhere(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	check := func(p *[blockSize]byte) {
		var quotes, backslashes, control, high uint64
		for n, c := range p {
			switch {
			case c == '"':
				quotes |= 1 << n
			case c == '\\':
				backslashes |= 1 << n
			case c < 0x20:
				control = 1
			case c >= 0x80:
				high = 1
			}
		}
		q, b, c, h := classify(p)
		require.Equal(t, quotes, q, "%q", p)
		require.Equal(t, backslashes, b, "%q", p)
		require.Equal(t, control != 0, c != 0, "%q", p)
		require.Equal(t, high != 0, h != 0, "%q", p)
	}
	var p [blockSize]byte
	for at := range p {
		for c := range 256 {
			for n := range p {
				p[n] = 'x'
			}
			p[at] = byte(c)
			check(&p)
		}
	}
	for range 10_000 {
		for n := range p {
			p[n] = byte(random.Uint32())
		}
		check(&p)
	}
}
