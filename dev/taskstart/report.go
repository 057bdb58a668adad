package taskstart

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// The files that a run writes into the docs.
const (
	page    = "benchmarks-driver.md"
	picture = "benchmarks-driver-start.svg"
)

// Write puts the page and its picture into a directory.
func (r *Result) Write(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, page), []byte(r.markdown()), 0o644); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, picture), []byte(r.svg()), 0o644); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}

const pageText = `# How long the driver takes to start a task

Written by ` + "`make bench`" + `, which fails if the driver is slower than Nomad's own raw_exec. The last run:

DATE; CPU, CORES cores, KERNEL, Nomad NOMAD; load average before it LOAD.
STARTS starts of each driver, in turns, on one agent.

TABLE
![Each start of both drivers on one axis](PICTURE)

## What is measured
Two allocations of one job, one under each driver, run the same probe, which writes down the time of its first statement and
waits. Their tasks are restarted in turns (vllm, raw_exec, raw_exec, vllm, ...), so that whatever else the machine does meets
both alike. The first WARM of each are not counted. Where it may, all of it runs above other work (nice -10).

- It begins at the agent's trace line "finished prestart hooks", the last thing that Nomad does in the same way for both. From
  there on it is the driver's time: raw_exec lives inside the agent, ours is a process of its own, and the call between the two
  counts against ours.
- "To the engine's first instruction" ends at the probe's own clock. "To Nomad's Started event" ends when Nomad has
  the driver's answer.
- Our task is a prefill with a NixlConnector, so that the driver's planning, checks and files are in it. raw_exec has a command
  line and nothing else to do.
- The probe is one small static binary. What vLLM itself needs to start (tens of seconds) has no part in this.

Both drivers put a process of their own between Nomad and the engine: raw_exec the executor (the whole ` + "`nomad`" + ` binary
again, spoken to by RPC), ours the shim (see adr/0001-own-shim.md and adr/ADR).
`

func (r *Result) markdown() string {
	return strings.NewReplacer(
		"DATE", r.At.UTC().Format(time.DateOnly), "CPU", r.Machine.CPU, "CORES", fmt.Sprint(r.Machine.Cores),
		"KERNEL", r.Machine.Kernel, "NOMAD", r.Machine.Nomad, "LOAD", r.Machine.Load,
		"STARTS", fmt.Sprint(r.Starts), "TABLE", r.Table(), "PICTURE", picture, "WARM", fmt.Sprint(warmUp), "ADR", "0004-one-binary.md",
	).Replace(pageText)
}

// Table is the result as a Markdown table.
func (r *Result) Table() string {
	var b strings.Builder
	b.WriteString("| | vllm, median | raw_exec, median | ratio | vllm, p90 | raw_exec, p90 | ratio |\n|---|---|---|---|---|---|---|\n")
	for _, row := range []struct {
		name         string
		ours, theirs []time.Duration
	}{
		{"to the engine's first instruction", r.Ours.Exec, r.Theirs.Exec},
		{"to Nomad's Started event", r.Ours.Told, r.Theirs.Told},
	} {
		fmt.Fprintf(&b, "| %s | %s | %s | %.2f | %s | %s | %.2f |\n", row.name,
			ms(quantile(row.ours, median)), ms(quantile(row.theirs, median)), ratio(row.ours, row.theirs, median),
			ms(quantile(row.ours, p90)), ms(quantile(row.theirs, p90)), ratio(row.ours, row.theirs, p90))
	}
	return b.String()
}
