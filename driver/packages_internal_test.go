package driver

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-version"
	"github.com/stretchr/testify/require"
)

func TestVersions_areThoseOfTheCommandsOwnEnvironment(t *testing.T) {
	env, bin := t.TempDir(), t.TempDir()
	for _, info := range []string{"vllm-0.33.1", "lmcache-0.5.3", "nixl_cu12-1.3.2", "Torch-2.11.0+cu130", "vllmish-9"} {
		require.NoError(t, os.MkdirAll(filepath.Join(env, "lib/python3.12/site-packages", info+".dist-info"), 0o755))
	}
	command := filepath.Join(bin, "vllm")
	require.NoError(t, os.WriteFile(command, []byte("#!"+env+"/bin/python3 -I\nimport vllm\n"), 0o755))
	want := map[string]string{"vllm": "0.33.1", "lmcache": "0.5.3", "nixl": "1.3.2", "torch": "2.11.0+cu130"}
	require.Equal(t, want, readPackages(command, "").versions)

	d := New(t.Context(), hclog.NewNullLogger())
	d.cfg.Command = command
	f := d.fingerprint()
	v, ok := f.Attributes["driver.vllm.runtime.default.vllm"].GetString()
	require.True(t, ok)
	require.Equal(t, "0.33.1", v)
}

func TestVersions_ofWhatIsNoPythonAreNone(t *testing.T) {
	for name, text := range map[string]string{"binary": "\x7fELF", "empty": "", "env": "#!/usr/bin/env python3\n", "bare": "#!\n"} {
		command := filepath.Join(t.TempDir(), "bin", name)
		require.NoError(t, os.MkdirAll(filepath.Dir(command), 0o755))
		require.NoError(t, os.WriteFile(command, []byte(text), 0o755))
		require.Empty(t, readPackages(command, "").versions, name)
	}
	require.Empty(t, readPackages("/no/such/command", "").versions)
}

// python makes an environment as pip does, and returns its vllm command.
func python(t testing.TB, distributions ...string) (command string) {
	env := t.TempDir()
	command = filepath.Join(env, "bin", "vllm")
	require.NoError(t, os.MkdirAll(filepath.Dir(command), 0o755))
	require.NoError(t, os.WriteFile(command, []byte("#!"+env+"/bin/python3\n"), 0o755))
	for _, d := range distributions {
		addPackage(t, command, d)
	}
	return command
}

func sitePackages(command string) string {
	return filepath.Join(filepath.Dir(filepath.Dir(command)), "lib/python3.12/site-packages")
}

func addPackage(t testing.TB, command, distribution string) {
	require.NoError(t, os.MkdirAll(filepath.Join(sitePackages(command), distribution+".dist-info"), 0o755))
}

func TestPackages_areReadAgainWhenTheirDirectoryChanges(t *testing.T) {
	command := python(t, "vllm-0.26.0", "lmcache-0.5.3")
	var c packageCache
	require.Equal(t, map[string]string{"vllm": "0.26.0", "lmcache": "0.5.3"}, c.of(command, ""))

	// An upgrade that leaves the directory's time as it was is not seen: it was not read.
	before, err := os.Stat(sitePackages(command))
	require.NoError(t, err)
	require.NoError(t, os.Rename(filepath.Join(sitePackages(command), "vllm-0.26.0.dist-info"), filepath.Join(sitePackages(command), "vllm-0.33.1.dist-info")))
	after, err := os.Stat(sitePackages(command))
	require.NoError(t, err)
	require.NoError(t, os.Chtimes(sitePackages(command), before.ModTime(), before.ModTime()))
	require.Equal(t, "0.26.0", c.of(command, "")["vllm"])

	require.NoError(t, os.Chtimes(sitePackages(command), after.ModTime(), after.ModTime()))
	require.Equal(t, "0.33.1", c.of(command, "")["vllm"])
	require.NoError(t, os.Remove(filepath.Join(sitePackages(command), "lmcache-0.5.3.dist-info")))
	require.Equal(t, map[string]string{"vllm": "0.33.1"}, c.of(command, ""))
}

func TestPackages_areReadAgainWhenTheCommandIsAnother(t *testing.T) {
	old, fresh := python(t, "vllm-0.26.0"), python(t, "vllm-0.33.1")
	link := filepath.Join(t.TempDir(), "vllm")
	require.NoError(t, os.Symlink(old, link))
	var c packageCache
	require.Equal(t, "0.26.0", c.of(link, "")["vllm"])
	require.NoError(t, os.Remove(link))
	require.NoError(t, os.Symlink(fresh, link))
	require.Equal(t, "0.33.1", c.of(link, "")["vllm"])
}

func TestPackages_aNewPythonIsSeen(t *testing.T) {
	command := python(t)
	var c packageCache
	require.Empty(t, c.of(command, ""))
	addPackage(t, command, "vllm-0.33.1")
	require.Equal(t, "0.33.1", c.of(command, "")["vllm"])
}

// What a wrapper starts is in no line that could be read: an operator says it.
func TestPackages_behindAWrapper(t *testing.T) {
	venv := filepath.Dir(filepath.Dir(python(t, "vllm-0.33.1")))
	wrapper := filepath.Join(t.TempDir(), "bin", "vllm")
	require.NoError(t, os.MkdirAll(filepath.Dir(wrapper), 0o755))
	require.NoError(t, os.WriteFile(wrapper, []byte("#!/bin/sh\nexec "+venv+"/bin/vllm \"$@\"\n"), 0o755))
	activated := map[string]string{"VIRTUAL_ENV": venv}
	d := New(t.Context(), hclog.NewNullLogger())
	d.cfg = Config{Command: wrapper, Python: venv + "/bin/python3", Runtimes: map[string]Runtime{
		"silent": {Command: wrapper}, "told": {Command: wrapper, Python: venv + "/bin/python3"}, "activated": {Command: wrapper, Env: activated},
	}}
	f := d.fingerprint()
	for runtime, want := range map[string]string{"default": "0.33.1", "told": "0.33.1", "activated": "0.33.1", "silent": ""} {
		var got string
		if a := f.Attributes["driver.vllm.runtime."+runtime+".vllm"]; a != nil {
			got, _ = a.GetString()
		}
		require.Equal(t, want, got, runtime)
	}
	// What is checked before a start is what the node says.
	for runtime := range d.cfg.Runtimes {
		task := TaskConfig{Runtime: runtime}
		engine, err := d.cfg.engineOf(task)
		require.NoError(t, err)
		require.Equal(t, runtime != "silent", versionsOf(task, engine, &d.packages, nil, "/")["vllm"] == "0.33.1", runtime)
	}
	own := TaskConfig{Command: wrapper}
	engine, err := d.cfg.engineOf(own)
	require.NoError(t, err)
	require.Equal(t, "0.33.1", versionsOf(own, engine, &d.packages, activated, "/")["vllm"], "the task's own")
}

func TestPackages_aFifoIsNotWaitedFor(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "vllm")
	require.NoError(t, syscall.Mkfifo(fifo, 0o755))
	require.Empty(t, readPackages(fifo, "").versions)
}

func TestConstraintVersion_isOneThatNomadCompares(t *testing.T) {
	for python, want := range map[string]string{
		"0.33.1": "0.33.1", "2.11.0+cu130": "2.11.0+cu130", "0.26.0rc1": "0.26.0-rc1", "0.27.1.dev3+g1234abc": "0.27.1-dev3+g1234abc",
		"0.3.13.post1": "0.3.13+post1", "0.8.5.post1+cu121": "0.8.5+post1.cu121", "1.0a2.dev3": "1.0-a2.dev3", "v0.9": "0.9", "unknown": "unknown",
	} {
		require.Equal(t, want, constraintVersion(python))
		if want != "unknown" {
			_, err := version.NewSemver(want)
			require.NoError(t, err)
		}
	}
}

func BenchmarkPackages_unchanged(b *testing.B) {
	command := python(b, "vllm-0.26.0", "torch-2.11.0")
	var c packageCache
	for b.Loop() {
		c.of(command, "")
	}
}
