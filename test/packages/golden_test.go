//go:build packages

package packages

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// golden is one launch as the driver planned it.
type golden struct {
	Argv  []string          `json:"argv"`
	Env   map[string]string `json:"env"`
	Store string            `json:"store"` // path of mooncake.json, if there is one
	// lmcache is the path of lmcache.yaml, if there is one.
	lmcache string
}

// goldens reads every golden file and writes the files in them to a directory.
func goldens(t *testing.T) map[string]golden {
	t.Helper()
	paths, err := filepath.Glob("../../driver/testdata/connectors/*.golden")
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	all := map[string]golden{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		all[strings.TrimSuffix(filepath.Base(path), ".golden")] = parse(t, string(b))
	}
	return all
}

// parse takes a golden file apart: arguments, environment, then notes and files.
func parse(t *testing.T, text string) golden {
	t.Helper()
	paragraphs := strings.Split(text, "\n\n")
	require.GreaterOrEqual(t, len(paragraphs), 2)
	g := golden{Argv: strings.Split(paragraphs[0], "\n"), Env: map[string]string{}}
	for line := range strings.Lines(paragraphs[1]) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		g.Env[name] = value
	}
	for _, p := range paragraphs[2:] {
		head, content, _ := strings.Cut(p, "\n")
		switch {
		case head == "/secrets/lmcache.yaml:":
			g.lmcache = write(t, "lmcache.yaml", content)
		case head == "/secrets/mooncake.json:":
			g.Store = write(t, "mooncake.json", content)
		case !strings.HasPrefix(head, "note: "):
			require.Fail(t, "a golden file has a part that nothing here feeds to a package", head)
		}
	}
	return g
}

func write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}
