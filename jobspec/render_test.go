package jobspec_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/hashicorp/nomad/jobspec2"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/jobspec"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const examples = "../examples/hcl"

func TestRender_makesTheCommittedExample(t *testing.T) {
	src, err := os.ReadFile(filepath.Join(examples, "pd.service.hcl"))
	require.NoError(t, err)
	s, err := jobspec.ParseService("pd.service.hcl", src)
	require.NoError(t, err)
	got, err := jobspec.Render(s)
	require.NoError(t, err)

	golden := filepath.Join(examples, "pd.nomad.hcl")
	if *update {
		require.NoError(t, os.WriteFile(golden, got, 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got),
		"the example is not what render prints; run go test ./jobspec -update")
}

// valid parses the job file with Nomad's own parser.
func valid(t testing.TB, src []byte) {
	t.Helper()
	_, err := jobspec2.ParseWithConfig(&jobspec2.ParseConfig{Path: "rendered.nomad.hcl", Body: src, Strict: true})
	require.NoErrorf(t, err, "%s", src)
	require.Equal(t, string(hclwrite.Format(src)), string(src), "not as nomad fmt would write it")
}
