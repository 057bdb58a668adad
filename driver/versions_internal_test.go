package driver

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/go-hclog"
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
	require.Equal(t, want, versions(command))

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
		require.Empty(t, versions(command), name)
	}
	require.Empty(t, versions("/no/such/command"))
}
