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
	log, err := os.ReadFile("enginelog/testdata/captured/lmcache-missing.log")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(k.notes, "log"), log, 0o600))
	k.start(d)
	require.Equal(t, 1, k.wait(d).ExitCode)
	told := eventsUntil(t, k, events, "Ended unasked")
	require.Regexp(t, `\(exit code 1\): the engine's Python cannot import lmcache. To do: install lmcache beside vllm, .* \(lmcache-missing in docs/failures-driver.md.\) `+
		`The log says: .*ModuleNotFoundError: No module named 'lmcache'`, told[len(told)-1])
}

func TestFailure_thatTheEngineGoesOnAfterIsToldWhileItRuns(t *testing.T) {
	d := newDriver(t, driver.Config{})
	events := subscribe(t, d)
	k := newTask(t, "broken")
	log, err := os.ReadFile("enginelog/testdata/captured/side-channel-taken.log")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(k.notes, "log"), log, 0o600))
	k.start(d)
	told := eventsUntil(t, k, events, "Warning: ")
	require.Regexp(t, `^Warning: the side channel's port is in use, .* To do: let Nomad assign it .* \(side-channel-taken in docs/failures-driver.md.\) `+
		`The log says: zmq.error.ZMQError: Address already in use`, told[len(told)-1])
	s, err := d.InspectTask(k.ID)
	require.NoError(t, err)
	require.EqualValues(t, "running", s.State)
}
