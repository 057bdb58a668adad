package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/cli"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/jobspec/lint"
)

const (
	serviceFile = "../../examples/hcl/pd.service.hcl"
	jobFile     = "../../examples/hcl/pd.nomad.hcl"
	badJobFile  = "../../jobspec/lint/testdata/err/kill-timeout.hcl"
)

// jobRun runs a job subcommand and returns its exit code and what it printed.
func jobRun(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out bytes.Buffer
	ui := cli.NewMockUi()
	commands := map[string]cli.Command{
		"render": &renderCommand{ui, strings.NewReader(stdin), &out},
		"lint":   &lintCommand{ui, strings.NewReader(stdin), &out},
	}
	code = commands[args[0]].Run(args[1:])
	return code, out.String() + ui.OutputWriter.String(), ui.ErrorWriter.String()
}

func TestJobRender_printsTheJobFile(t *testing.T) {
	want, err := os.ReadFile(jobFile)
	require.NoError(t, err)
	src, err := os.ReadFile(serviceFile)
	require.NoError(t, err)

	code, out, errOut := jobRun(t, "", "render", serviceFile)
	require.Zero(t, code, errOut)
	require.Equal(t, string(want), out)

	code, out, errOut = jobRun(t, string(src), "render", "-")
	require.Zero(t, code, errOut)
	require.Equal(t, string(want), out)
}

func TestJobRender_doesNotOverwriteUnlessForced(t *testing.T) {
	to := filepath.Join(t.TempDir(), "pd.nomad.hcl")
	code, out, errOut := jobRun(t, "", "render", "-o", to, serviceFile)
	require.Zero(t, code, errOut)
	require.Empty(t, out)
	require.NoError(t, os.WriteFile(to, []byte("# changed by hand\n"), 0o644))

	code, _, errOut = jobRun(t, "", "render", "-o", to, serviceFile)
	require.Equal(t, 1, code)
	require.Contains(t, errOut, "-force")
	kept, err := os.ReadFile(to)
	require.NoError(t, err)
	require.Equal(t, "# changed by hand\n", string(kept))

	code, _, errOut = jobRun(t, "", "render", "-force", "-o", to, serviceFile)
	require.Zero(t, code, errOut)
	written, err := os.ReadFile(to)
	require.NoError(t, err)
	require.Contains(t, string(written), `group "prefill"`)
}

func TestJobRender_writesNothingForAWrongDescription(t *testing.T) {
	to := filepath.Join(t.TempDir(), "pd.nomad.hcl")
	code, _, errOut := jobRun(t, "service \"pd\" {\n  modle = \"m\"\n}\n", "render", "-o", to, "-")
	require.Equal(t, 1, code)
	require.Contains(t, errOut, "<stdin>:2:3: ")
	require.Contains(t, errOut, "no prefill block")
	require.NoFileExists(t, to)
}

func TestJobRender_saysWhatItCannotRead(t *testing.T) {
	code, out, errOut := jobRun(t, "", "render", "nothing.hcl")
	require.Equal(t, 2, code)
	require.Empty(t, out)
	require.Contains(t, errOut, "nomad-vllm job render: read service description: open nothing.hcl")
}

func TestJobLint_exitsByWhatItFound(t *testing.T) {
	bad, err := os.ReadFile(badJobFile)
	require.NoError(t, err)
	warning, err := os.ReadFile("../../jobspec/lint/testdata/err/lone-role.hcl")
	require.NoError(t, err)
	for name, c := range map[string]struct {
		stdin string
		args  []string
		code  int
		want  string
	}{
		"clean":              {"", []string{jobFile}, 0, ""},
		"errors":             {"", []string{jobFile, badJobFile}, 1, "\n1 error, 1 warning\n"},
		"standard input":     {string(bad), []string{"-"}, 1, "<stdin>:37:22: error: "},
		"warnings only":      {string(warning), []string{"-"}, 0, "\n0 errors, 1 warning\n"},
		"a variable":         {"", []string{"-var", "prefill_count=5", jobFile}, 1, "[scaling-bounds]"},
		"a longer load":      {"", []string{"-load", "1h", jobFile}, 1, "[update-deadline]"},
		"no file":            {"", nil, 2, "no file given"},
		"no such file":       {"", []string{"nothing.hcl"}, 2, "nothing.hcl"},
		"no such var file":   {"", []string{"-var-file", "nothing.hcl", jobFile}, 2, "nothing.hcl"},
		"unknown option":     {"", []string{"-colour", jobFile}, 2, "-colour"},
		"option after files": {"", []string{jobFile, "-json"}, 2, "put options first"},
		"load of nothing":    {"", []string{"-load", "0s", jobFile}, 2, "-load 0s"},
		"help":               {"", []string{"-help"}, 0, "Usage: nomad-vllm job lint"},
	} {
		t.Run(name, func(t *testing.T) {
			code, out, errOut := jobRun(t, c.stdin, append([]string{"lint"}, c.args...)...)
			require.Equal(t, c.code, code, out+errOut)
			require.Contains(t, out+errOut, c.want)
			if c.want == "" {
				require.Empty(t, out+errOut)
			}
		})
	}
}

func TestJobLint_printsJSON(t *testing.T) {
	code, out, _ := jobRun(t, "", "lint", "-json", badJobFile)
	require.Equal(t, 1, code)
	var findings []lint.Finding
	require.NoError(t, json.Unmarshal([]byte(out), &findings))
	require.Len(t, findings, 2)
	require.Equal(t, lint.Finding{
		File: badJobFile, Line: 37, Column: 22, Severity: lint.Error, Rule: "kill-timeout",
		Message: "kill_timeout is 15s, and --shutdown-timeout lets vLLM drain for 20s: answers are cut off",
		Fix:     `write kill_timeout = "30s"`,
	}, findings[0])

	code, out, _ = jobRun(t, "", "lint", "-json", jobFile)
	require.Zero(t, code)
	require.JSONEq(t, "[]", out)
}

// The help is the reference of the description, so what it shows must work.
func TestJobRender_helpShowsADescriptionThatRenders(t *testing.T) {
	help := (&renderCommand{}).Help()
	for _, start := range []string{"The shortest description is\n\n", "with the defaults:\n\n"} {
		_, rest, found := strings.Cut(help, start)
		require.True(t, found)
		src, _, found := strings.Cut(rest, "\n    }\n")
		require.True(t, found)
		src += "\n    }\n"
		if !strings.Contains(src, "model") { // the second one shows the defaults only
			src = strings.Replace(src, "service \"pd\" {", "service \"pd\" {\n model = \"m\"\n decode { count = 1 }", 1)
			src = strings.Replace(src, "prefill {", "prefill {\n count = 1", 1)
		}
		code, out, errOut := jobRun(t, src, "render", "-")
		require.Zero(t, code, errOut)
		require.Contains(t, out, `job "pd"`)
	}
}
