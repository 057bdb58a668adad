package driver_test

import (
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver"
)

// TestTask_runsAsItsUser: root may give a task away; anyone may run as himself.
func TestTask_runsAsItsUser(t *testing.T) {
	for _, byID := range []bool{false, true} {
		runsAsItsUser(t, byID)
	}
}

func runsAsItsUser(t *testing.T, byID bool) {
	d := newDriver(t, driver.Config{})
	// Another user cannot run the test binary: "sh serve m ..." runs a script.
	k := newTask(t, "serve", func(c *driver.TaskConfig) { c.Command = "/bin/sh" })
	require.NoError(t, os.WriteFile(filepath.Join(k.TaskDir().Dir, "serve"), []byte("exec sleep 60\n"), 0o644))
	name := "nobody"
	if os.Getuid() != 0 {
		me, err := user.Current()
		require.NoError(t, err)
		name = me.Username
	}
	u, err := user.Lookup(name)
	require.NoError(t, err)
	if k.User = name; byID {
		k.User = u.Uid
	}
	for _, p := range []string{parent(parent(k.notes)), parent(k.notes), k.AllocDir, k.TaskDir().Dir} {
		require.NoError(t, os.Chmod(p, 0o755))
	}
	k.start(d)
	res, err := d.ExecTask(k.ID, []string{"id", "-un"}, soon)
	require.NoError(t, err)
	require.Equal(t, name, strings.TrimSpace(string(res.Stdout)), string(res.Stderr))
	res, err = d.ExecTask(k.ID, []string{"sh", "-c", `echo "$USER $LOGNAME $HOME"`}, soon)
	require.NoError(t, err)
	require.Equal(t, name+" "+name+" "+u.HomeDir, strings.TrimSpace(string(res.Stdout)), "not the agent's")
	res, err = d.ExecTask(k.ID, []string{"id", "-G"}, soon)
	require.NoError(t, err)
	groups, err := u.GroupIds()
	require.NoError(t, err)
	require.ElementsMatch(t, groups, strings.Fields(string(res.Stdout)), "the user's groups, none of the agent's")
}

func parent(p string) string { return filepath.Dir(p) }

func TestTask_unknownUserIsNamed(t *testing.T) {
	d := newDriver(t, driver.Config{})
	k := newTask(t, "serve")
	k.User = "no-such-user"
	_, _, err := d.StartTask(k.TaskConfig)
	require.ErrorContains(t, err, `user "no-such-user"`)
}
