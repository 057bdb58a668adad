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

func TestFailures_areToldByTheirLogs(t *testing.T) {
	logs, err := filepath.Glob("../testdata/failures/*.log")
	require.NoError(t, err)
	require.Len(t, logs, len(enginelog.Failures()), "each row has a log")
	for _, path := range logs {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		c := enginelog.NewClues()
		for line := range strings.Lines(string(b)) {
			c.Line(strings.TrimSpace(line), time.Unix(1, 0))
		}
		cause := c.Cause(time.Time{})
		require.NotNil(t, cause, path)
		require.Equal(t, strings.TrimSuffix(filepath.Base(path), ".log"), cause.ID)
	}
}

func TestFailures_eachHasItsSectionInTheDocs(t *testing.T) {
	b, err := os.ReadFile("../../docs/failures-driver.md")
	require.NoError(t, err)
	for _, f := range enginelog.Failures() {
		require.Contains(t, string(b), "\n## "+f.ID+"\n")
		require.NotEmpty(t, f.What)
		require.NotEmpty(t, f.Change)
		_, ok := enginelog.Explain(f.ID)
		require.True(t, ok)
	}
}

func TestClues_whatAHealthyEngineSaysIsNone(t *testing.T) {
	c := enginelog.NewClues()
	c.Line("WARNING 11-23 11:14:13 [system_utils.py:255] Found ulimit of 20000 and failed to automatically increase with error current limit exceeds maximum limit. "+
		"This can cause fd limit errors like `OSError: [Errno 24] Too many open files`. Consider increasing with ulimit -n", time.Unix(1, 0))
	c.Line("WARNING 11-23 11:14:13 [nixl_utils.py:62] NIXL is not available", time.Unix(1, 0))
	require.Nil(t, c.Cause(time.Time{}))
}

func TestClues_oldComplaintsDoNotExplainALaterDeath(t *testing.T) {
	c := enginelog.NewClues()
	c.Line("torch.OutOfMemoryError: CUDA out of memory.", time.Unix(100, 0))
	require.Nil(t, c.Cause(time.Unix(200, 0)))
	c.Line("EngineDeadError: EngineCore encountered an issue.", time.Unix(250, 0))
	require.Equal(t, "engine-died", c.Cause(time.Unix(200, 0)).ID)
}
