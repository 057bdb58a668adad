package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/stretchr/testify/require"
)

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

// helpFlag is a flag as -h shows it, with the default that it names.
type helpFlag struct{ name, def string }

func helpFlags(t *testing.T) []helpFlag {
	t.Helper()
	var help output
	_, err := parse([]string{"-h"}, func(string) string { return "" }, &help)
	require.Error(t, err)
	var out []helpFlag
	entry := regexp.MustCompile(`(?m)^  -(\S+).*\n    \t(.*)$`)
	def := regexp.MustCompile(`\(default "?([^ ",)]+)"?\)$`)
	for _, m := range entry.FindAllStringSubmatch(help.String(), -1) {
		f := helpFlag{name: m[1]}
		if d := def.FindStringSubmatch(m[2]); d != nil {
			f.def = d[1]
		}
		out = append(out, f)
	}
	require.Greater(t, len(out), 30, "-h is read")
	return out
}

// TestDocs_haveEverySetting: each flag has one row, with its place in the file
// and its default, and no row speaks of a flag that is gone.
func TestDocs_haveEverySetting(t *testing.T) {
	place := map[string]string{}
	for _, p := range places() {
		place[p.flag] = p.path
	}
	rows := map[string][]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `-([a-z-]+)` \\|(.*)\\|$").FindAllStringSubmatch(text(t, "../../docs/router.md"), -1) {
		require.NotContains(t, rows, m[1], "two rows")
		rows[m[1]] = strings.Split(m[2], "|")
	}
	for _, f := range helpFlags(t) {
		row, ok := rows[f.name]
		require.True(t, ok, "docs/router.md has no row for -%s", f.name)
		delete(rows, f.name)
		require.Len(t, row, 3, "-%s: want place, default and meaning", f.name)
		if path := place[f.name]; path != "" {
			require.Equal(t, "`"+path+"`", strings.TrimSpace(row[0]), "-%s: place in the file", f.name)
		} else {
			require.Empty(t, strings.TrimSpace(row[0]), "-%s has no place in the file", f.name)
		}
		require.Contains(t, row[1], f.def, "-%s: default", f.name)
	}
	require.Empty(t, rows, "docs/router.md has rows for flags that do not exist")
}

const example = "../../examples/router/router.hcl"

func TestExample_isValidAndChangesNothing(t *testing.T) {
	none := func(string) string { return "" }
	got, err := parse([]string{"-config", example}, none, &output{})
	require.NoError(t, err)
	got.services = nil                                                                                 // it names the default
	want, err := parse([]string{"-prefill-policy", "auto", "-decode-policy", "auto"}, none, &output{}) // which empty means
	require.NoError(t, err)
	want.values["config"], want.values["consul-service"] = example, "vllm"
	require.Equal(t, want, got)
}

// TestExample_hasEverySetting, those without a default in comments.
func TestExample_hasEverySetting(t *testing.T) {
	src := regexp.MustCompile(`(?m)^( *)# ([a-z_]+ +=|[a-z_]+ (?:"\w+" )?\{.*\}$)`).ReplaceAllString(text(t, example), "$1$2")
	file, diags := hclsyntax.ParseConfig([]byte(src), example, hcl.InitialPos)
	require.False(t, diags.HasErrors(), "%v", diags)
	var have, want []string
	body := file.Body.(*hclsyntax.Body)
	for name := range body.Attributes {
		have = append(have, name)
	}
	for _, b := range body.Blocks {
		if b.Type == "key" {
			continue
		}
		for name := range b.Body.Attributes {
			have = append(have, b.Type+"."+name)
		}
	}
	for _, p := range places() {
		want = append(want, p.path)
	}
	require.ElementsMatch(t, want, have)
}

// TestDocs_keyBlockWorks, and has every setting of a key.
func TestDocs_keyBlockWorks(t *testing.T) {
	block := regexp.MustCompile(`(?ms)^    key "team-a" \{$.*?^    \}$`).FindString(text(t, "../../docs/router.md"))
	require.NotEmpty(t, block)
	s, err := parseWith(t, block)
	require.NoError(t, err)
	require.Len(t, s.router.Keys, 1)
	require.Equal(t, "team-a", s.router.Keys[0].Name)

	_, err = parseWith(t, strings.Replace(block, "{", "{\nnone = 1\n", 1))
	known := regexp.MustCompile(`no such setting; there are (.*)`).FindStringSubmatch(err.Error())
	require.NotNil(t, known, err)
	for name := range strings.SplitSeq(known[1], ", ") {
		require.Regexp(t, `(?m)^ +`+name+` +=`, block)
	}
}
