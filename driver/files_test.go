package driver

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

func TestWriteFiles_areForTheTasksUserOnly(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "secrets", "lmcache.yaml")
	require.NoError(t, writeFiles([]file{{path, []byte("a: 1\n")}}, &shim.Credential{UID: uint32(os.Getuid()), GID: uint32(os.Getgid())}))
	require.NoError(t, writeFiles([]file{{path, []byte("a: 2\n")}}, nil), "a restart writes it again")
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "a: 2\n", string(b))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode())
	entries, err := os.ReadDir(filepath.Dir(path))
	require.NoError(t, err)
	require.Len(t, entries, 1, "no temporary file is left")
}

func TestWriteFiles_followNoLinkThatTheTaskLeft(t *testing.T) {
	dir := t.TempDir()
	victim, path := filepath.Join(dir, "victim"), filepath.Join(dir, "lmcache.yaml")
	require.NoError(t, os.WriteFile(victim, []byte("mine"), 0o600))
	require.NoError(t, os.Symlink(victim, path))
	require.NoError(t, writeFiles([]file{{path, []byte("a: 1")}}, nil))
	b, err := os.ReadFile(victim)
	require.NoError(t, err)
	require.Equal(t, "mine", string(b))

	require.NoError(t, os.RemoveAll(path))
	require.NoError(t, os.Mkdir(path, 0o700))
	require.ErrorContains(t, writeFiles([]file{{path, nil}}, nil), "write lmcache.yaml: ")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2, "no temporary file is left")
}

func TestReadBrought_staysInTheTasksDirectory(t *testing.T) {
	dir := t.TempDir()
	task := filepath.Join(dir, "task")
	require.NoError(t, os.MkdirAll(filepath.Join(task, "local"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "outside"), []byte("x"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(task, "local", "ok.yaml"), []byte("a: 1"), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(task, "big"), make([]byte, maxBrought+1), 0o600))
	require.NoError(t, os.Symlink("../outside", filepath.Join(task, "link")))
	require.NoError(t, syscall.Mkfifo(filepath.Join(task, "fifo"), 0o600))
	read := func(path string) broughtFile {
		tc := TaskConfig{KVTransfer: &KVTransfer{Parts: []KVTransfer{{LMCache: &LMCache{ConfigFile: path}}}}}
		return readBrought(tc, nil, task)[path]
	}
	for _, path := range []string{"local/ok.yaml", filepath.Join(task, "local/ok.yaml")} {
		f := read(path)
		require.NoError(t, f.Err)
		require.Equal(t, "a: 1", string(f.Content))
		require.Equal(t, filepath.Join(task, "local/ok.yaml"), f.Path)
	}
	for path, want := range map[string]string{
		"../outside": "not in the task's directory", filepath.Join(dir, "outside"): "not in the task's directory",
		"link": "escapes", "fifo": "not a regular file", "local": "not a regular file", "missing": "no such file", "big": "larger than 1048576 bytes",
	} {
		require.ErrorContains(t, read(path).Err, want, path)
	}
	require.Len(t, readBrought(TaskConfig{KVTransfer: &KVTransfer{}}, map[string]string{"LMCACHE_CONFIG_FILE": "local/ok.yaml"}, task), 1)
	require.Empty(t, readBrought(TaskConfig{}, nil, task))
}
