//go:build guards

package guards

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A row that fails with every guard in place says nothing when it fails without one.
func TestRows_holdWithEveryGuard(t *testing.T) {
	for _, pkg := range []string{inRouter, inCommand} {
		began := time.Now()
		p := play(t, pkg, tableRows(t))
		require.Empty(t, p.trouble, p.output)
		require.Empty(t, p.failed, p.output)
		t.Logf("%5.1fs  every row of %s holds", time.Since(began).Seconds(), pkg)
	}
}

func TestGuards_holdTheirRows(t *testing.T) {
	for _, g := range guards() {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			p := play(t, g.played(), g.rows, "-overlay", g.overlay(t))
			require.Empty(t, p.trouble, "without the guard in %s:\n%s", g.file, p.output)
			for _, id := range g.rows {
				if p.failed[id] == "" {
					t.Errorf("%s holds without this guard in %s: its test is too weak, or another guard holds it", id, g.file)
				}
			}
			t.Logf("%5.1fs  without %q: %s", time.Since(began).Seconds(), g.name, p.said(g.rows))
		})
	}
}

func (g guard) played() string {
	if g.pkg == "" {
		return inRouter
	}
	return g.pkg
}

// overlay is the path of a file that has the go command see the source without
// the guard.
func (g guard) overlay(t *testing.T) string {
	dir := t.TempDir()
	where, err := filepath.Abs(filepath.Join(root, g.file))
	require.NoError(t, err)
	mutated := filepath.Join(dir, filepath.Base(g.file))
	require.NoError(t, os.WriteFile(mutated, []byte(g.without(t)), 0o600))
	b, err := json.Marshal(map[string]any{"Replace": map[string]string{where: mutated}})
	require.NoError(t, err)
	path := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(path, b, 0o600))
	return path
}

// said is one line: which rows failed, and what each said first.
func (p played) said(rows []string) string {
	var out []string
	for _, id := range rows {
		if why := p.failed[id]; why != "" {
			out = append(out, id+" ("+why+")")
		}
	}
	return strings.Join(out, "; ")
}
