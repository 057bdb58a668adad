package enginelog_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver/enginelog"
)

// logs are the rows' logs of a directory: testdata/captured holds what real
// vLLM 0.32 said (test/vllm makes it fail again), testdata/public what others
// have reported, each with its source in the first line.
func logs(t *testing.T, dir string) map[string][]string {
	paths, err := filepath.Glob(filepath.Join("testdata", dir, "*.log"))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	out := map[string][]string{}
	for _, p := range paths {
		row, _, _ := strings.Cut(filepath.Base(p), ".")
		b, err := os.ReadFile(p)
		require.NoError(t, err)
		out[row] = append(out[row], string(b))
	}
	return out
}

// read shows a log to new clues and returns the rows that warned meanwhile.
func read(log string) (c *enginelog.Clues, warned []string) {
	c = enginelog.NewClues()
	for line := range strings.Lines(log) {
		if f := c.Line(strings.TrimSpace(line), time.Unix(1, 0)); f != nil {
			warned = append(warned, f.ID)
		}
	}
	return c, warned
}

func TestFailures_areToldByTheirLogs(t *testing.T) {
	rows := map[string]bool{}
	for _, dir := range []string{"captured", "public"} {
		for row, texts := range logs(t, dir) {
			rows[row] = true
			for _, text := range texts {
				c, warned := read(text)
				cause := c.Cause(time.Time{})
				require.NotNil(t, cause, row)
				require.Equal(t, row, cause.ID)
				f, ok := enginelog.Explain(row)
				require.True(t, ok)
				if f.Stays {
					require.Equal(t, []string{row}, warned, "once, while the engine runs")
				} else {
					require.Empty(t, warned)
				}
			}
		}
	}
	for _, f := range enginelog.Failures() {
		require.True(t, rows[f.ID], "%s has no log", f.ID)
	}
}

func TestFailures_eachHasItsSectionInTheDocs(t *testing.T) {
	b, err := os.ReadFile("../../docs/failures-driver.md")
	require.NoError(t, err)
	captured, public := logs(t, "captured"), logs(t, "public")
	for _, f := range enginelog.Failures() {
		_, section, found := strings.Cut(string(b), "\n## "+f.ID+"\n")
		require.True(t, found, f.ID)
		section, _, _ = strings.Cut(section, "\n## ")
		require.Contains(t, section, f.What)
		require.Contains(t, section, f.Change)
		if captured[f.ID] != nil {
			require.Contains(t, section, "Seen: captured", f.ID)
		} else {
			source, _, _ := strings.Cut(strings.TrimPrefix(public[f.ID][0], "# "), "\n")
			require.Contains(t, section, "Seen: in public, "+source, f.ID)
		}
		if f.Stays {
			require.Contains(t, section, "The engine goes on", f.ID)
		}
	}
}

func TestClues_whatAHealthyEngineSaysIsNone(t *testing.T) {
	b, err := os.ReadFile("testdata/healthy.log")
	require.NoError(t, err)
	require.Contains(t, string(b), "Application startup complete")
	c, warned := read(string(b))
	require.Nil(t, c.Cause(time.Time{}))
	require.Empty(t, warned)
	c.Line("WARNING 11-23 11:14:13 [nixl_utils.py:62] NIXL is not available", time.Unix(1, 0))
	require.Nil(t, c.Cause(time.Time{}), "an engine without a connector needs none")
}

func TestClues_oldComplaintsDoNotExplainALaterDeath(t *testing.T) {
	c := enginelog.NewClues()
	c.Line("torch.OutOfMemoryError: CUDA out of memory.", time.Unix(100, 0))
	require.Nil(t, c.Cause(time.Unix(200, 0)))
	c.Line("EngineDeadError: EngineCore encountered an issue.", time.Unix(250, 0))
	require.Equal(t, "engine-died", c.Cause(time.Unix(200, 0)).ID)
}
