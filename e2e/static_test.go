//go:build e2e

package e2e

import (
	"debug/elf"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// A plugin must run on whatever C library the node has.
func TestBinaries_areStatic(t *testing.T) {
	bin := os.Getenv("NOMAD_VLLM_BIN")
	names, err := os.ReadDir(bin)
	require.NoError(t, err)
	require.NotEmpty(t, names)
	for _, n := range names {
		f, err := elf.Open(filepath.Join(bin, n.Name()))
		require.NoError(t, err)
		for _, p := range f.Progs {
			require.NotEqual(t, elf.PT_INTERP, p.Type, "%s needs a dynamic loader", n.Name())
		}
		require.NoError(t, f.Close())
	}
}
