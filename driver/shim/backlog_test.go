package shim

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func takeAll(q *backlog) string {
	var out strings.Builder
	for {
		q.mu.Lock()
		empty := len(q.held) == 0
		q.mu.Unlock()
		if empty {
			return out.String()
		}
		b, _ := q.take()
		out.Write(b)
	}
}

func TestBacklog_keepsItsLimitInBytesHoweverSmallTheWrites(t *testing.T) {
	q := newBacklog()
	for i := range 10_000 {
		q.add(fmt.Appendf(nil, "line %05d\n", i))
	}
	require.Zero(t, q.dropped())
	require.Equal(t, 10_000, strings.Count(takeAll(q), "\n"))
}

func TestBacklog_saysWhereItDroppedAndBreaksNoLine(t *testing.T) {
	const line = 128
	text := func(i int) []byte { return fmt.Appendf(nil, "%0*d\n", line-1, i) }
	q := newBacklog()
	n := 0
	for ; n < 2*backlogLimit/line; n++ {
		b := text(n)
		q.add(b[:line/2]) // as a writer without a buffer does
		q.add(b[line/2:])
	}
	first := takeAll(q)
	q.add(text(n))
	q.close()
	rest := takeAll(q)

	lines := strings.Split(strings.TrimSuffix(first, "\n"), "\n")
	for i, l := range lines {
		require.Equal(t, strings.TrimSpace(string(text(i))), l)
	}
	require.InDelta(t, backlogLimit, len(first), line)
	require.Equal(t, fmt.Sprintf("[nomad-driver-vllm: %d bytes of log dropped here: nobody read them]\n%s", q.dropped(), text(n)), rest)
	require.EqualValues(t, (n-len(lines))*line, q.dropped())
	_, ok := q.take()
	require.False(t, ok)
}

func TestBacklog_aLineThatIsCutEndsBeforeTheNote(t *testing.T) {
	q := newBacklog()
	q.add(make([]byte, backlogLimit))
	q.add([]byte("tail of it\n"))
	q.close()
	require.True(t, strings.HasSuffix(takeAll(q), "\x00\n[nomad-driver-vllm: 11 bytes of log dropped here: nobody read them]\n"))
}
