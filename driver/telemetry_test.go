package driver_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver"
	"github.com/nomad-vllm/nomad-vllm/driver/telemetry"
)

func TestTelemetry_countsWhatHappensToTasks(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := l.Addr().String()
	require.NoError(t, l.Close())
	settings := driver.Config{Telemetry: &telemetry.Settings{PrometheusListen: address}}
	shows := func(samples ...string) {
		t.Helper()
		var page string
		require.Eventually(t, func() bool {
			resp, err := http.Get("http://" + address + "/metrics")
			if err != nil {
				return false
			}
			defer resp.Body.Close()
			b, err := io.ReadAll(resp.Body)
			page = string(b)
			for _, s := range samples {
				if !strings.Contains(page, "\nnomad_driver_vllm_"+s+"\n") {
					return false
				}
			}
			return err == nil
		}, soon, often, "%s not in:\n%s", samples, &page)
	}

	d, end := newPlugin(t, settings)
	bad := newTask(t, "serve", func(c *driver.TaskConfig) { c.Command = "no-such-engine" })
	_, _, err = d.StartTask(bad.TaskConfig)
	require.Error(t, err)
	shows(`start_failures{reason="config"} 1`, "starts 0", "tasks 0")

	k, stubborn, failing := newTask(t, "serve"), newTask(t, "stubborn"), newTask(t, "exit:3")
	h := k.start(d)
	k.said("ready")
	shows("starts 1", "start_time_count 1", "tasks 1")
	stubborn.start(d)
	stubborn.said("ready")
	failing.start(d)
	failing.wait(d)
	require.NoError(t, d.StopTask(stubborn.ID, 10*often, ""))
	shows(`exits{how="failed"} 1`, `exits{how="killed"} 1`, "stop_time_count 1", "tasks 1")

	end() // and a new life of the plugin, on the same address
	d = newDriver(t, settings)
	require.NoError(t, d.RecoverTask(h))
	t.Cleanup(func() { _ = d.DestroyTask(k.ID, true) })
	shows(`recoveries{result="ok"} 1`, "tasks 1", "starts 0")
	require.NoError(t, d.StopTask(k.ID, soon, ""))
	shows(`exits{how="stopped"} 1`, "tasks 0")
}

func TestTelemetry_knowsWhenAnEngineWasReady(t *testing.T) {
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	require.NoError(t, l.SetReadDeadline(time.Now().Add(soon)))
	d := newDriver(t, driver.Config{Telemetry: &telemetry.Settings{StatsdAddress: l.LocalAddr().String()}})
	k := newTask(t, "story")
	k.start(d)
	k.said("loaded")
	events := subscribe(t, d)
	require.NoError(t, d.SignalTask(k.ID, "SIGUSR1"))
	eventsUntil(t, k, events, "KV cache")
	require.NoError(t, d.SignalTask(k.ID, "SIGUSR1"))
	var all strings.Builder
	b := make([]byte, 1500)
	for !strings.Contains(all.String(), "nomad_driver_vllm.ready_time:") {
		n, _, err := l.ReadFrom(b)
		require.NoError(t, err)
		all.Write(b[:n])
	}
}
