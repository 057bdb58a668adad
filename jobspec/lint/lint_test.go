package lint_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/jobspec/lint"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestFile_isSilentAboutGoodJobs(t *testing.T) {
	files, err := filepath.Glob("testdata/ok/*.hcl")
	require.NoError(t, err)
	files = append(files, "../../examples/hcl/pd.nomad.hcl")
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			src, err := os.ReadFile(path)
			require.NoError(t, err)
			require.Empty(t, lint.File(filepath.Base(path), src, lint.Options{}))
		})
	}
}

// Each file in testdata/err holds one kind of mistake, usually as the
// difference from a good job; what must be said of it stands beside it.
func TestFile_saysWhatIsWrongWhereAndHowToMendIt(t *testing.T) {
	files, err := filepath.Glob("testdata/err/*.hcl")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, path := range files {
		t.Run(filepath.Base(path), func(t *testing.T) {
			src, err := os.ReadFile(path)
			require.NoError(t, err)
			var got bytes.Buffer
			for _, f := range lint.File(filepath.Base(path), src, lint.Options{}) {
				fmt.Fprintln(&got, f)
			}
			golden := strings.TrimSuffix(path, ".hcl") + ".out"
			if *update {
				require.NoError(t, os.WriteFile(golden, got.Bytes(), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), got.String())
			require.NotEmpty(t, got.String())
		})
	}
}
