package vllm_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/vllm"
)

func TestParseSize_readsTheFieldsUnits(t *testing.T) {
	for in, want := range map[string]int64{
		"0": 0, "1073741824": 1 << 30, "1GiB": 1 << 30, "512 MiB": 512 << 20, "1.5GiB": 3 << 29, "2GB": 2e9, "1tib": 1 << 40, "7B": 7,
	} {
		got, err := vllm.ParseSize(in)
		require.NoError(t, err, in)
		require.Equal(t, want, got, in)
	}
	for _, in := range []string{"", "GiB", "-1", "1 GiBs", "1e9", "0.3B", "9999999999TiB"} {
		_, err := vllm.ParseSize(in)
		require.ErrorContains(t, err, `want a size such as "1GiB"`, in)
	}
}
