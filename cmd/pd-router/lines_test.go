package main

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
)

// writes records each write by itself.
type writes []string

func (w *writes) Write(p []byte) (int, error) {
	*w = append(*w, string(p))
	return len(p), nil
}

func TestLines_waitForOthersButNotForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got writes
		l := newLines(&got)
		log := hclog.New(&hclog.LoggerOptions{Output: l, DisableTime: true})
		log.Info("one")
		log.Info("two")
		synctest.Wait()
		require.Empty(t, got)
		time.Sleep(lineDelay)
		synctest.Wait()
		require.Equal(t, writes{"[INFO]  one\n[INFO]  two\n"}, got)

		log.Info("three")
		log.Warn("four")
		require.Equal(t, "[INFO]  three\n[WARN]  four\n", got[1], "a warning waits for nothing, and keeps its place")
		time.Sleep(2 * lineDelay)
		require.Len(t, got, 2)

		log.Info("five")
		l.Flush()
		require.Equal(t, "[INFO]  five\n", got[2])
		l.Flush()
		require.Len(t, got, 3)
	})
}

func TestLines_holdLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got writes
		l := newLines(&got)
		line := strings.Repeat("x", 1023) + "\n"
		for range lineRoom / len(line) {
			_, _ = l.LevelWrite(hclog.Info, []byte(line))
		}
		require.Len(t, got, 1)
		require.Len(t, got[0], lineRoom)
		_, _ = l.Write([]byte("no level\n"))
		require.Len(t, got, 2)
	})
}
