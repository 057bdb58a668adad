package load

import (
	"bufio"
	"encoding/json"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/bench/router/engine"
	"github.com/nomad-vllm/nomad-vllm/bench/router/traffic"
)

// engines runs the mock engines in this process.
type engines struct {
	t  *testing.T
	at engine.Addresses
	in io.Writer
	r  *bufio.Reader
}

func start(t *testing.T) *engines {
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- engine.Main(2, inR, outW) }()
	t.Cleanup(func() { inW.Close(); require.NoError(t, <-ended) })
	e := &engines{t: t, in: inW, r: bufio.NewReader(outR)}
	e.read(&e.at)
	return e
}

func (e *engines) read(into any) {
	line, err := e.r.ReadBytes('\n')
	require.NoError(e.t, err)
	require.NoError(e.t, json.Unmarshal(line, into))
}

func (e *engines) ask(command string) engine.Counts {
	_, err := io.WriteString(e.in, command+"\n")
	require.NoError(e.t, err)
	var c engine.Counts
	e.read(&c)
	return c
}

func (e *engines) Held() (int, error) { return e.ask("counts").Held, nil }

func (e *engines) Release() error { e.ask("release"); return nil }

func cell(t *testing.T, name string) traffic.Cell {
	cells, err := traffic.Select([]string{name})
	require.NoError(t, err)
	return cells[0]
}

func run(t *testing.T, target Target, name string) Result {
	loop, err := NewLoop(target, cell(t, name))
	require.NoError(t, err)
	defer loop.Close()
	return loop.Run(t.Context(), 50*time.Millisecond)
}

func TestLoop_bothLegsSatisfyTheEngines(t *testing.T) {
	e := start(t)
	for _, name := range []string{"200B-c3", "16KiB-c2", "220KiB-c2", "sse-c2"} {
		e.ask("reset")
		got := run(t, Target{Addr: e.at.Decode[0], Prefill: e.at.Prefill[1]}, name)
		require.NoError(t, got.First, name)
		require.Positive(t, got.Requests)
		require.Len(t, got.Latencies, got.Requests)
		c := e.ask("counts")
		require.Empty(t, c.First, name)
		require.Equal(t, [3]int64{int64(got.Requests), int64(got.Requests), 0}, [3]int64{c.Prefill, c.Decode, c.Plain}, name)
	}
}

func TestLoop_aRouterThatSkipsTheHandoffIsCaught(t *testing.T) {
	e := start(t)
	for name, addr := range map[string]string{
		"leg 1 asks for 100 tokens": e.at.Prefill[0],
		"no kv_transfer_params":     e.at.Decode[0],
	} {
		e.ask("reset")
		got := run(t, Target{Addr: addr}, "200B-c1")
		require.ErrorContains(t, got.First, "status 400")
		c := e.ask("counts")
		require.Contains(t, c.First, name)
		require.Equal(t, 1, c.Wrong)
	}
}

func TestLoop_tokensAreTimed(t *testing.T) {
	e := start(t)
	got := run(t, Target{Addr: e.at.Plain}, "sse1ms-c2")
	require.NoError(t, got.First)
	require.Len(t, got.Delays, 100*got.Requests)
	require.Positive(t, Quantile(got.Delays, 0.5))
	require.GreaterOrEqual(t, Quantile(got.Latencies, 0), 99*time.Millisecond, "100 tokens 1 ms apart")
}

func TestStreams_areAllOpenBeforeTheySpeak(t *testing.T) {
	e := start(t)
	e.ask("reset")
	open := 0
	got, err := Streams(t.Context(), Target{Addr: e.at.Plain}, cell(t, "streams-c240"), e, func(held int) { open = held })
	require.NoError(t, err)
	require.NoError(t, got.First)
	require.Equal(t, 240, open)
	require.Equal(t, 240, got.Requests)
	require.Len(t, got.Delays, 240*20)
}
