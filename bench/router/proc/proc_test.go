package proc

import (
	"bufio"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// busy starts a shell whose child spins until it is told to stop.
func busy(t *testing.T) Tree {
	cmd := exec.Command("sh", "-c", `(echo on; while :; do :; done) & child=$!; trap 'kill $child; exit' TERM; wait`)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		_ = cmd.Wait()
	})
	_, err = bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return Tree{cmd.Process.Pid}
}

func TestBetween_refusesAProcessThatEnded(t *testing.T) {
	used, err := Between(map[int]time.Duration{1: 5}, map[int]time.Duration{1: 7, 2: 3})
	require.NoError(t, err)
	require.Equal(t, time.Duration(5), used, "a new process counts from its start")
	_, err = Between(map[int]time.Duration{1: 5, 2: 3}, map[int]time.Duration{1: 7})
	require.ErrorContains(t, err, "pid 2 ended")
}

func TestTree_isGone(t *testing.T) {
	cmd := exec.Command("true")
	require.NoError(t, cmd.Run())
	_, err := Tree{cmd.Process.Pid}.CPU()
	require.ErrorContains(t, err, "is gone")
}

func TestTree_countsChildren(t *testing.T) {
	tree := busy(t)
	before, err := tree.CPU()
	require.NoError(t, err)
	require.Len(t, before, 2)
	require.Eventually(t, func() bool {
		after, err := tree.CPU()
		require.NoError(t, err)
		used, err := Between(before, after)
		require.NoError(t, err)
		return used > 100*time.Millisecond
	}, 20*time.Second, 10*time.Millisecond)
	rss, err := tree.RSS()
	require.NoError(t, err)
	require.Greater(t, rss, int64(100<<10))
}
