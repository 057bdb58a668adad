package main

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"
)

// writes records each write by itself.
type writes struct {
	mu  sync.Mutex
	all []string
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, string(p))
	return len(p), nil
}

func (w *writes) got() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.all)
}

func TestLines_waitForOthersButNotForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var to writes
		l := newLines(&to)
		log := hclog.New(&hclog.LoggerOptions{Output: l, DisableTime: true})
		log.Info("one")
		log.Info("two")
		synctest.Wait()
		require.Empty(t, to.got())
		time.Sleep(lineDelay)
		synctest.Wait()
		require.Equal(t, []string{"[INFO]  one\n[INFO]  two\n"}, to.got())

		log.Info("three")
		log.Warn("four")
		require.Equal(t, "[INFO]  three\n[WARN]  four\n", to.got()[1], "a warning waits for nothing, and keeps its place")
		time.Sleep(2 * lineDelay)
		require.Len(t, to.got(), 2)

		log.Info("five")
		l.Flush()
		require.Equal(t, "[INFO]  five\n", to.got()[2])
		l.Flush()
		require.Len(t, to.got(), 3)
	})
}

func TestLines_holdLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var to writes
		l := newLines(&to)
		line := strings.Repeat("x", 1023) + "\n"
		for range lineRoom / len(line) {
			_, _ = l.LevelWrite(hclog.Info, []byte(line))
		}
		require.Len(t, to.got(), 1)
		require.Len(t, to.got()[0], lineRoom)
		_, _ = l.Write([]byte("no level\n"))
		require.Len(t, to.got(), 2)
	})
}
