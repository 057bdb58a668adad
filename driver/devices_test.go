package driver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// kernel writes what the NVIDIA kernel driver shows of some GPUs.
func kernel(t *testing.T, uuidByBus map[string]string) string {
	dir := t.TempDir()
	for bus, uuid := range uuidByBus {
		require.NoError(t, os.Mkdir(filepath.Join(dir, bus), 0o755))
		text := fmt.Sprintf("Model: \t\t NVIDIA H200\nIRQ:   \t\t 372\nGPU UUID: \t %s\nBus Location: \t %s\n", uuid, bus)
		require.NoError(t, os.WriteFile(filepath.Join(dir, bus, "information"), []byte(text), 0o444))
	}
	return dir
}

func TestVisibleDevices_areIndicesInBusOrder(t *testing.T) {
	dir := kernel(t, map[string]string{
		"0000:9a:00.0": "GPU-c", "0000:17:00.0": "GPU-b", "0001:03:00.0": "GPU-a", "0000:3D:00.0": "GPU-d",
	})
	g, err := visibleDevices([]string{"GPU-a", "GPU-b", "GPU-d"}, func() (map[string]int, error) { return gpuIndex(dir) })
	require.NoError(t, err)
	require.Equal(t, gpus{Count: 3, Visible: "3,0,1"}, g)
}

func TestVisibleDevices_passesMIGAndIndicesOn(t *testing.T) {
	g, err := visibleDevices([]string{"MIG-1", "2"}, func() (map[string]int, error) { return nil, errors.New("not asked") })
	require.NoError(t, err)
	require.Equal(t, gpus{Count: 2, Visible: "MIG-1,2"}, g)
}

func TestVisibleDevices_unknownUUIDIsNamed(t *testing.T) {
	dir := kernel(t, map[string]string{"0000:17:00.0": "GPU-b", "0000:18:00.0": "GPU-a"})
	_, err := visibleDevices([]string{"GPU-b", "GPU-x"}, func() (map[string]int, error) { return gpuIndex(dir) })
	require.EqualError(t, err, "GPU GPU-x: Nomad reserved it, but this node's driver does not list it (it lists GPU-b, GPU-a); see what nvidia-smi and the kernel's log say of it, and drain the node if it is gone")
}

func TestGPUIndex_withoutKernelDriverAndTool(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := visibleDevices([]string{"GPU-a"}, func() (map[string]int, error) { return gpuIndex("/no/such/dir") })
	require.ErrorContains(t, err, `find the index of GPU GPU-a: no GPU described in gpu_proc_dir "/no/such/dir", and nvidia-smi does not help`)
}

func TestGPUIndex_fallsBackToTheTool(t *testing.T) {
	bin := t.TempDir()
	script := "#!/bin/sh\n[ \"$1\" = --query-gpu=index,uuid ] && [ \"$2\" = --format=csv,noheader ] && printf '0, GPU-b\\n1, GPU-a\\n'\n"
	require.NoError(t, os.WriteFile(filepath.Join(bin, "nvidia-smi"), []byte(script), 0o755))
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	got, err := gpuIndex("/no/such/dir")
	require.NoError(t, err)
	require.Equal(t, map[string]int{"GPU-b": 0, "GPU-a": 1}, got)
}

func TestGPUIndex_saysWhatItCannotRead(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "0000:17:00.0"), 0o755))
	_, err := gpuIndex(dir)
	require.ErrorContains(t, err, "describe GPU")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "0000:17:00.0", "information"), []byte("Model: H200\n"), 0o644))
	_, err = gpuIndex(dir)
	require.ErrorContains(t, err, `0000:17:00.0/information has no line "GPU UUID:"`)
	_, err = parseSMI("Failed to initialize NVML\n")
	require.ErrorContains(t, err, "want index, uuid")
}

func TestReservedIDs_comeFromADevicePlugin(t *testing.T) {
	for _, c := range []struct {
		device, env map[string]string
		want        []string
	}{
		{map[string]string{envNvidia: "GPU-a, GPU-b"}, map[string]string{envNvidia: "all"}, []string{"GPU-a", "GPU-b"}},
		{nil, map[string]string{envNvidia: "GPU-a"}, []string{"GPU-a"}},
		{nil, map[string]string{envNvidia: "all"}, nil},
		{nil, map[string]string{envNvidia: "0,1"}, nil}, // the agent's own environment
		{map[string]string{envNvidia: "none"}, nil, nil},
		{nil, nil, nil},
	} {
		require.Equal(t, c.want, reservedIDs(c.device, c.env))
	}
}
