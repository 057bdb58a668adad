package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSoak_short is the drill in twenty seconds; `make soak-router` makes it last.
func TestSoak_short(t *testing.T) {
	bin := t.TempDir()
	for _, name := range []string{"pd-router", "vllm-sim"} {
		out, err := exec.Command("go", "build", "-o", bin, "github.com/nomad-vllm/nomad-vllm/cmd/"+name).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	r, err := run(t.Context(), config{router: filepath.Join(bin, "pd-router"), sim: filepath.Join(bin, "vllm-sim"), lasts: 20 * time.Second, clients: 16, seed: uint64(time.Now().UnixNano())})
	require.NoError(t, err)
	t.Log(r.text())
	require.Empty(t, r.broken())
}

func TestReport_replacesTheLastOne(t *testing.T) {
	doc := filepath.Join(t.TempDir(), "doc.md")
	require.NoError(t, os.WriteFile(doc, []byte("# Title\n\nText.\n\n"+heading+"\nold figures\n"), 0o644))
	r := report{tally: newTally(), peak: 1 << 20}
	require.NoError(t, r.write(doc))
	b, err := os.ReadFile(doc)
	require.NoError(t, err)
	require.Contains(t, string(b), "# Title\n\nText.\n\n"+heading)
	require.NotContains(t, string(b), "old figures")
}

func TestReport_saysWhatWasNotHeld(t *testing.T) {
	good := report{tally: newTally(), peak: 1 << 20, before: holding{goroutines: 9, files: 9}, after: holding{goroutines: 9, files: 9}}
	good.tally.count(outcomeWhole)
	require.Empty(t, good.broken())
	for name, change := range map[string]func(r *report){
		"a loss":       func(r *report) { r.tally.lost("x") },
		"a block":      func(r *report) { r.leaked = []string{"x"} },
		"a goroutine":  func(r *report) { r.after.goroutines++ },
		"a descriptor": func(r *report) { r.after.files++ },
		"a request":    func(r *report) { r.after.inFlight = 1 },
		"memory":       func(r *report) { r.peak = mostMemory + 1 },
		"service":      func(r *report) { r.tally.reset() },
	} {
		r := good
		r.tally = newTally()
		r.tally.count(outcomeWhole)
		change(&r)
		require.Len(t, r.broken(), 1, name)
	}
}
