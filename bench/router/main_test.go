package main

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/bench/router/report"
)

// The engines are this executable again.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == engineArg {
		if err := run(context.Background(), os.Args[1:]); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A whole run, with the router that is in the working tree.
func TestRun_measuresTheRouter(t *testing.T) {
	dir := t.TempDir()
	t.Chdir("../..") // the module's root, where pd-router is built from
	require.NoError(t, run(t.Context(), []string{
		"-peers", "direct,pd-router", "-cells", "200B-c2,16KiB-c2,sse-c2,streams-c20", "-reps", "2", "-slice", "60ms", "-docs", dir,
	}))
	r, err := report.Load(filepath.Join(dir, report.RunFile))
	require.NoError(t, err)
	for _, c := range r.Cells {
		for _, peer := range []string{"direct", "pd-router"} {
			f, ok := r.Figure(c.Name, peer)
			require.True(t, ok, "%s %s: %s", c.Name, peer, f.Fault)
			require.Positive(t, f.Requests, c.Name)
			require.Equal(t, peer == "pd-router", f.CPU > 0, "%s %s", c.Name, peer)
			if f.Streams != nil {
				require.Equal(t, report.Streams{Asked: 20, Held: 20, Late: f.Streams.Late, OpenMiB: f.Streams.OpenMiB}, *f.Streams)
				require.Equal(t, peer == "pd-router", f.Streams.OpenMiB > 1)
			}
		}
	}
}

func TestParse_refusesWhatItCannotMeasure(t *testing.T) {
	for _, args := range [][]string{{"-cells", "1B-c1"}, {"-reps", "0"}, {"-slice", "1ms"}, {"extra"}} {
		_, err := parse(args)
		require.Error(t, err, args)
	}
	o, err := parse([]string{"-quick"})
	require.NoError(t, err)
	require.Equal(t, 3, o.reps)
	require.Less(t, len(o.cells), 8)
}
