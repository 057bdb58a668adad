package driver_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver"
)

func TestFailure_isExplainedHoweverMuchLogFollows(t *testing.T) {
	d := newDriver(t, driver.Config{})
	events := subscribe(t, d)
	k := newTask(t, "fail")
	log, err := os.ReadFile("testdata/failures/lmcache-missing.log")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(k.notes, "log"), log, 0o600))
	k.start(d)
	require.Equal(t, 1, k.wait(d).ExitCode)
	told := eventsUntil(t, k, events, "Ended unasked")
	require.Regexp(t, `\(exit code 1\): the engine's Python cannot import lmcache. To do: install lmcache beside vllm, .* \(lmcache-missing in docs/failures-driver.md.\) `+
		`The log says: .*ModuleNotFoundError: No module named 'lmcache'`, told[len(told)-1])
}
