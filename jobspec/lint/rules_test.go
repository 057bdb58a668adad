package lint_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/jobspec/lint"
)

func TestRules_eachHasATestCase(t *testing.T) {
	outs, err := filepath.Glob("testdata/err/*.out")
	require.NoError(t, err)
	var all strings.Builder
	for _, path := range outs {
		out, err := os.ReadFile(path)
		require.NoError(t, err)
		all.Write(out)
	}
	for _, r := range lint.Rules() {
		require.Contains(t, all.String(), "["+r.ID+"]\n")
	}
}

func TestRules_eachHasASectionInTheReference(t *testing.T) {
	doc, err := os.ReadFile("../../docs/lint.md")
	require.NoError(t, err)
	var sections []string
	for line := range strings.Lines(string(doc)) {
		if id, ok := strings.CutPrefix(line, "## "); ok {
			sections = append(sections, strings.TrimSpace(id))
		}
	}
	var ids []string
	for _, r := range lint.Rules() {
		ids = append(ids, r.ID)
		require.NotEmpty(t, r.What)
	}
	require.Equal(t, ids, sections, "docs/lint.md must have one section for each rule, in the order of the table")
}

// What the reference shows without "optional" is what the linter asks for.
func TestServiceMeta_asksForWhatTheReferenceDoesNotCallOptional(t *testing.T) {
	doc, err := os.ReadFile("../../docs/lint.md")
	require.NoError(t, err)
	_, section, found := strings.Cut(string(doc), "## service-meta\n")
	require.True(t, found)
	section, _, _ = strings.Cut(section, "\n## ")
	job, err := os.ReadFile("testdata/ok/pair.hcl")
	require.NoError(t, err)
	shown := 0
	for line := range strings.Lines(section) {
		key, _, found := strings.Cut(strings.TrimSpace(line), " ")
		if !found || !strings.HasPrefix(key, "pd_") {
			continue
		}
		shown++
		var without strings.Builder
		for l := range strings.Lines(string(job)) {
			if !strings.HasPrefix(strings.TrimSpace(l), key+" ") {
				without.WriteString(l)
			}
		}
		findings := lint.File("pair.hcl", []byte(without.String()), lint.Options{})
		require.Equal(t, strings.Contains(line, "# optional"), len(findings) == 0, "without %s: %v", key, findings)
	}
	require.Equal(t, 9, shown)
}
