package lint_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/jobspec/lint"
)

// withCount is a good job whose prefill count is the variable n, bounded by 4.
func withCount(t *testing.T, declaration string) []byte {
	t.Helper()
	src, err := os.ReadFile("testdata/ok/scaling.hcl")
	require.NoError(t, err)
	require.Contains(t, string(src), "count          = 2")
	return []byte(declaration + "\n" + strings.Replace(string(src), "count          = 2", "count          = var.n", 1))
}

func TestFile_evaluatesVariablesAsNomadDoes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "n.hcl")
	require.NoError(t, os.WriteFile(file, []byte("n = 6\n"), 0o600))
	declared := "variable \"n\" {\n  type = number\n  default = 2\n}\n"
	for name, c := range map[string]struct {
		opts lint.Options
		want string
	}{
		"default":          {lint.Options{}, ""},
		"-var":             {lint.Options{Vars: []string{"n=5"}}, "count 5"},
		"-var-file":        {lint.Options{VarFiles: []string{file}}, "count 6"},
		"environment":      {lint.Options{Env: []string{"NOMAD_VAR_n=7"}}, "count 7"},
		"-var wins":        {lint.Options{Vars: []string{"n=3"}, VarFiles: []string{file}, Env: []string{"NOMAD_VAR_n=7"}}, ""},
		"a file wins":      {lint.Options{VarFiles: []string{file}, Env: []string{"NOMAD_VAR_n=3"}}, "count 6"},
		"the last -var":    {lint.Options{Vars: []string{"n=3", "n=8"}}, "count 8"},
		"no such variable": {lint.Options{Vars: []string{"m=3"}}, `"m"`},
		"not of the type":  {lint.Options{Vars: []string{"n=many"}}, "for n "},
		"not even a value": {lint.Options{Vars: []string{"n=="}}, "-var variable"},
	} {
		t.Run(name, func(t *testing.T) {
			findings := lint.File("job.hcl", withCount(t, declared), c.opts)
			if c.want == "" {
				require.Empty(t, findings)
				return
			}
			require.NotEmpty(t, findings)
			require.Contains(t, findings[0].String(), c.want)
			require.Contains(t, findings[0].String(), "job.hcl:")
		})
	}
}

func TestFile_saysWhichVariableIsUnset(t *testing.T) {
	findings := lint.File("job.hcl", withCount(t, "\nvariable \"n\" {\n  type = number\n}\n"), lint.Options{})
	require.Len(t, findings, 1)
	require.Equal(t, 2, findings[0].Line)
	require.Contains(t, findings[0].Message, `"n"`)
}

func TestFile_measuresDeadlinesAgainstTheLoadTime(t *testing.T) {
	src, err := os.ReadFile("../../examples/hcl/pd.nomad.hcl")
	require.NoError(t, err)
	require.Empty(t, lint.File("pd.nomad.hcl", src, lint.Options{Load: 10 * time.Minute}))
	var rules []string
	for _, f := range lint.File("pd.nomad.hcl", src, lint.Options{Load: 11 * time.Minute}) {
		rules = append(rules, f.Rule)
	}
	require.Equal(t, []string{"update-deadline", "check-restart", "check-restart"}, dedupe(rules))
}

// dedupe keeps one update-deadline: both groups inherit the same block.
func dedupe(rules []string) (out []string) {
	seen := false
	for _, r := range rules {
		if r == "update-deadline" && seen {
			continue
		}
		seen = seen || r == "update-deadline"
		out = append(out, r)
	}
	return out
}

// A linter that dies on what it is given to find mistakes in is of no use.
func FuzzFile_neverPanics(f *testing.F) {
	for _, pattern := range []string{"testdata/ok/*.hcl", "testdata/err/*.hcl"} {
		files, err := filepath.Glob(pattern)
		require.NoError(f, err)
		for _, path := range files {
			src, err := os.ReadFile(path)
			require.NoError(f, err)
			f.Add(string(src))
		}
	}
	f.Fuzz(func(t *testing.T, src string) {
		for _, finding := range lint.File("fuzz.hcl", []byte(src), lint.Options{}) {
			require.NotEmpty(t, finding.Rule)
			require.NotContains(t, finding.String(), "\n")
		}
	})
}
