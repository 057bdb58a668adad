package dev

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestServerTiming_readsTheLegs(t *testing.T) {
	require.Equal(t, map[string]string{"prefill": "12.5", "decode": "3"}, serverTiming("prefill;dur=12.5, decode;dur=3"))
	require.Empty(t, serverTiming(""))
}

func TestWrap_keepsEveryWordAndTheWidth(t *testing.T) {
	text := strings.Repeat("one two three ", 20)
	got := wrap(text, 30, "  ")
	require.Equal(t, strings.Fields(text), strings.Fields(got))
	for _, l := range strings.Split(got, "\n") {
		require.LessOrEqual(t, len(strings.TrimSpace(l)), 30)
	}
}

func TestSize_usesDecimalUnits(t *testing.T) {
	require.Equal(t, "1.07 GB", size(1.07e9))
	require.Equal(t, "67.11 MB", size(67108864))
	require.Equal(t, "512 B", size(512))
}

func TestRun_namesEveryMissingBinary(t *testing.T) {
	bin := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(bin, "pd-router"), nil, 0o755))
	var out bytes.Buffer
	err := Run(t.Context(), Options{BinDir: bin, StateDir: t.TempDir(), Out: &out, Job: "nowhere.hcl"})
	for _, name := range []string{"nomad-driver-vllm", "nomad-device-fakegpu", "nomad-autoscaler-vllm", "vllm-sim"} {
		require.ErrorContains(t, err, name+" is not in "+bin)
	}
	require.NotContains(t, err.Error(), "pd-router is not")
	require.ErrorContains(t, err, "nowhere.hcl")
	require.Empty(t, out.String(), "nothing was started")
}
