package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNote_appendsNanoseconds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	require.NoError(t, note(path, time.Unix(1, 5)))
	require.NoError(t, note(path, time.Unix(2, 0)))
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "1000000005\n2000000000\n", string(b))
	require.ErrorContains(t, note("", time.Now()), "write START_PROBE_OUT")
}
