package demo

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strings"

	nomadapi "github.com/hashicorp/nomad/api"
)

// RunJob does `nomad job run FILE` with the given HCL variables ("name=value")
// and returns the job's ID.
func RunJob(ctx context.Context, nomad string, client *nomadapi.Client, file string, vars []string) (string, error) {
	args := []string{"job", "run", "-detach"}
	for _, v := range vars {
		args = append(args, "-var", v)
	}
	cmd := exec.CommandContext(ctx, nomad, append(args, file)...)
	cmd.Env = append(os.Environ(), "NOMAD_ADDR="+client.Address())
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("nomad job run %s: %w:\n%s", file, err, bytes.TrimSpace(out))
	}
	m := evaluationID.FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("nomad job run %s: no evaluation in its answer:\n%s", file, bytes.TrimSpace(out))
	}
	eval, _, err := client.Evaluations().Info(string(m[1]), nil)
	if err != nil {
		return "", fmt.Errorf("read evaluation %s: %w", m[1], err)
	}
	return eval.JobID, nil
}

var evaluationID = regexp.MustCompile(`Evaluation ID: ([0-9a-f-]{36})`)

// PlacementFailures says, a line each, which groups of a job Nomad could not
// place and what would help. It looks at the newest evaluation only: earlier
// ones may have been overcome.
func PlacementFailures(c *nomadapi.Client, job string) ([]string, error) {
	evals, _, err := c.Jobs().Evaluations(job, nil)
	if err != nil {
		return nil, fmt.Errorf("read evaluations of job %s: %w", job, err)
	}
	var newest *nomadapi.Evaluation
	for _, e := range evals {
		if len(e.FailedTGAllocs) > 0 && (newest == nil || e.CreateIndex > newest.CreateIndex) {
			newest = e
		}
	}
	if newest == nil {
		return nil, nil
	}
	var out []string
	for group, m := range newest.FailedTGAllocs {
		out = append(out, fmt.Sprintf("group %q: %d not placed: %s", group, m.CoalescedFailures+1, placementReason(m)))
	}
	return out, nil
}

// placementReason turns Nomad's scheduler metrics into a sentence with a way out.
func placementReason(m *nomadapi.AllocationMetric) string {
	var why []string
	for dim, n := range m.DimensionExhausted {
		why = append(why, fmt.Sprintf("%s exhausted on %d nodes; ask for less, or stop something", dim, n))
	}
	for c, n := range m.ConstraintFiltered {
		s := fmt.Sprintf("%q filtered %d nodes", c, n)
		switch {
		case strings.Contains(c, "missing devices"):
			s += "; no node has that many matching GPUs: lower device \"nvidia/gpu\" { count }, or relax its constraints"
		case strings.Contains(c, "missing drivers"):
			s += "; install the plugin of the task's driver, and see `nomad node status -verbose`"
		}
		why = append(why, s)
	}
	if len(why) == 0 {
		return fmt.Sprintf("%d nodes evaluated, none fits", m.NodesEvaluated)
	}
	return strings.Join(why, "; ")
}
