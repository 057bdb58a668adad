package driver_test

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver"
)

// eventsUntil collects the messages of one task up to the one with text.
func eventsUntil(t *testing.T, k *task, events <-chan *drivers.TaskEvent, text string) (messages []string) {
	t.Helper()
	deadline := time.After(soon)
	for {
		select {
		case e := <-events:
			if e.AllocID != k.AllocID {
				continue
			}
			messages = append(messages, e.Message)
			if strings.Contains(e.Message, text) {
				return messages
			}
		case <-deadline:
			t.Fatalf("no event with %q in %q", text, messages)
		}
	}
}

func TestStory_isToldInTaskEventsAndGoesOnAfterARestart(t *testing.T) {
	first, end := newPlugin(t, driver.Config{})
	events := subscribe(t, first)
	k := newTask(t, "story")
	h := k.start(first)
	told := eventsUntil(t, k, events, "Loaded")
	require.Equal(t, []string{"Loading weights: 0 of 4 files (0%)", "Loaded weights: 4 of 4 files"}, told[1:])
	require.Regexp(t, "^Starting: ", told[0])
	k.said("loaded")
	require.NoError(t, first.SignalTask(k.ID, "SIGUSR1"))
	eventsUntil(t, k, events, "KV cache: 262,144 tokens")
	end()

	d := newDriver(t, driver.Config{})
	events = subscribe(t, d)
	require.NoError(t, d.RecoverTask(h))
	t.Cleanup(func() { _ = d.DestroyTask(k.ID, true) })
	require.NoError(t, d.SignalTask(k.ID, "SIGUSR1"))
	told = eventsUntil(t, k, events, "Ready after")
	require.NotContains(t, strings.Join(told, "\n"), "weights", "what was told before is not repeated")

	require.NoError(t, d.StopTask(k.ID, soon, ""))
	told = eventsUntil(t, k, events, "Stopped")
	require.Equal(t, "Draining: SIGTERM sent; what is left after 10s (kill_timeout) is killed", told[0])
	require.Regexp(t, `^Stopped after .* \(exit code 0\)$`, told[1])
}

func TestStory_aStopThatHadToKillSaysSo(t *testing.T) {
	d := newDriver(t, driver.Config{})
	events := subscribe(t, d)
	k := newTask(t, "stubborn")
	k.start(d)
	k.said("ready")
	require.NoError(t, d.StopTask(k.ID, 50*time.Millisecond, ""))
	told := eventsUntil(t, k, events, "Stopped")
	require.Regexp(t, "killed, because it had not ended within kill_timeout$", told[len(told)-1])
}
