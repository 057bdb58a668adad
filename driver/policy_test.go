package driver

import (
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

// install writes an executable and makes its directories what an operator's
// are: his to write, everybody's to read.
func install(t *testing.T, elem ...string) string {
	path := filepath.Join(elem...)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\n"), 0o755))
	return path
}

func TestAllowedCommand_isWhatTheListNamesAfterAllLinks(t *testing.T) {
	root, alloc := t.TempDir(), t.TempDir()
	good := install(t, root, "opt", "vllm-0.33", "bin", "vllm")
	require.NoError(t, os.Symlink(filepath.Join(root, "opt", "vllm-0.33"), filepath.Join(root, "opt", "vllm")))
	link := filepath.Join(alloc, "link")
	require.NoError(t, os.Symlink(good, link))
	for _, allow := range []string{good, root + "/opt/vllm-*/bin/vllm", root + "/opt/vllm/bin/vllm"} {
		for _, path := range []string{good, root + "/opt/vllm/bin/vllm", link} {
			got, err := Config{AllowCommands: []string{"/nowhere", allow}}.allowedCommand("vllm", path, alloc, nil)
			require.NoError(t, err, "%s by %s", path, allow)
			require.Equal(t, good, got, "a link may point elsewhere a moment later, so it is not what runs")
		}
	}
	got, err := Config{}.allowedCommand("vllm", link, alloc, nil)
	require.NoError(t, err)
	require.Equal(t, link, got, "without a list nothing changes")
}

func TestAllowedCommand_refusesEveryWayRound(t *testing.T) {
	root, alloc := t.TempDir(), t.TempDir()
	good := install(t, root, "opt", "vllm", "bin", "vllm")
	evil := install(t, alloc, "local", "vllm")
	named := install(t, root, "opt", "vllm", "bin", "evil")
	require.NoError(t, os.Symlink(evil, filepath.Join(root, "opt", "vllm", "bin", "innocent")))
	open := install(t, root, "open", "bin", "vllm")
	require.NoError(t, os.Chmod(filepath.Dir(open), 0o777))
	sticky := install(t, root, "sticky", "bin", "vllm")
	require.NoError(t, os.Chmod(filepath.Dir(sticky), 0o777|os.ModeSticky))
	writable := install(t, root, "writable", "vllm")
	require.NoError(t, os.Chmod(writable, 0o777))

	for _, c := range []struct{ name, path, allow, want string }{
		{"another file", evil, good, `command "vllm" is ` + evil + `: this node's operator allows only ["` + good + `"] (allow_commands in the plugin's config)`},
		{"beside the right one", named, good, "allows only"},
		{"a path with ..", filepath.Dir(good) + "/../../../opt/vllm/bin/evil", good, "allows only"},
		{"a pattern does not cross directories", good, root + "/*/vllm", "allows only"},
		{"a link of the right name to a wrong place", filepath.Join(root, "opt", "vllm", "bin", "innocent"), filepath.Dir(good) + "/inn*", "the job itself can write there"},
		{"a pattern that covers the allocation", evil, alloc + "/*/vllm", "the job itself can write there"},
		{"in a directory of everybody", open, open, "others than its owner may change " + filepath.Dir(open)},
		{"in a directory where everybody can add files", sticky, filepath.Dir(sticky) + "/*", "others than its owner may change " + filepath.Dir(sticky)},
		{"a file of everybody", writable, writable, "others than its owner may change " + writable + ", so allow_commands"},
		{"gone", filepath.Join(root, "gone"), good, "no such file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Config{AllowCommands: []string{c.allow}}.allowedCommand("vllm", c.path, alloc, nil)
			require.ErrorContains(t, err, c.want)
		})
	}
}

// someone is a user other than the one that runs the test, if there can be one.
func someone(t *testing.T) *shim.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("nobody")
	require.NoError(t, err)
	uid, err := strconv.Atoi(u.Uid)
	require.NoError(t, err)
	gid, err := strconv.Atoi(u.Gid)
	require.NoError(t, err)
	return &shim.Credential{UID: uint32(uid), GID: uint32(gid)}
}

func TestAllowedCommand_theInterpreterIsNotTheJobsToChoose(t *testing.T) {
	path := install(t, t.TempDir(), "vllm")
	c := Config{AllowCommands: []string{path}}
	for line, ok := range map[string]bool{"#!/opt/vllm/bin/python\n": true, "#!/usr/bin/env python3\n": false, "#! /bin/env -S python3 -s\n": false, "#!": true, "\x7fELF": true, "": true} {
		require.NoError(t, os.WriteFile(path, []byte(line), 0o755))
		_, err := c.allowedCommand("vllm", path, "/alloc", nil)
		if ok {
			require.NoError(t, err, line)
			continue
		}
		require.ErrorContains(t, err, "its first line looks its interpreter up on PATH, which the job may set", line)
		denied := c
		denied.DenyEnv = []string{"PAT*"}
		_, err = denied.allowedCommand("vllm", path, "/alloc", nil)
		require.NoError(t, err)
	}
}

func TestAllowedCommand_theTasksUserMustNotBeAbleToChangeIt(t *testing.T) {
	u := someone(t)
	root := t.TempDir()
	require.NoError(t, os.Chmod(filepath.Dir(root), 0o755))
	path := install(t, root, "bin", "vllm")
	_, err := Config{AllowCommands: []string{path}}.allowedCommand("vllm", path, "/alloc", u)
	require.NoError(t, err)
	if u == nil {
		return // no right to give the file away
	}
	require.NoError(t, os.Chown(filepath.Dir(path), int(u.UID), -1))
	_, err = Config{AllowCommands: []string{path}}.allowedCommand("vllm", path, "/alloc", u)
	require.ErrorContains(t, err, "others than its owner may change "+filepath.Dir(path))
	// By a supplementary group.
	const group = 54321
	require.NoError(t, os.Chown(filepath.Dir(path), 0, group))
	require.NoError(t, os.Chmod(filepath.Dir(path), 0o775))
	_, err = Config{AllowCommands: []string{path}}.allowedCommand("vllm", path, "/alloc", u)
	require.NoError(t, err)
	member := *u
	member.Groups = []uint32{group}
	_, err = Config{AllowCommands: []string{path}}.allowedCommand("vllm", path, "/alloc", &member)
	require.ErrorContains(t, err, "others than its owner may change "+filepath.Dir(path))
}

func TestAsUser_leavesTheProcessAsItWas(t *testing.T) {
	u := someone(t)
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	require.NoError(t, os.WriteFile(secret, nil, 0o600))
	read := func() error { _, err := os.ReadFile(secret); return err }
	for range 100 {
		err := asUser(u, read)
		if u == nil {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, os.ErrPermission)
		}
		require.NoError(t, read(), "other threads, and the same one later, are not affected")
	}
	groups, err := syscall.Getgroups()
	require.NoError(t, err)
	require.NoError(t, asUser(u, func() error { return nil }))
	after, err := syscall.Getgroups()
	require.NoError(t, err)
	require.Equal(t, groups, after)
}

func TestPlan_deniedArgsAreFoundWhereverTheyComeFrom(t *testing.T) {
	deny := func(flags ...string) func(*situation) { return func(s *situation) { s.DenyArgs = flags } }
	for name, c := range map[string]struct {
		deny, change func(*situation)
		want         string
	}{
		"written out": {deny("--trust-remote-code"), func(s *situation) { s.Task.Args = []string{"--trust-remote-code"} },
			`"--trust-remote-code" on the command line: this node's operator forbids --trust-remote-code (deny_args in the plugin's config); remove it from args`},
		"abbreviated":      {deny("--trust_remote_code"), func(s *situation) { s.Task.Args = []string{"--seed=1", "--trust_rem"} }, `"--trust_rem" on the command line`},
		"as a value":       {deny("--trust-remote-code"), func(s *situation) { s.Task.Args = []string{"--seed", "--trust-remote-code"} }, "forbids --trust-remote-code"},
		"as the model":     {deny("--trust-remote-code"), func(s *situation) { s.Task.Model = "--trust-remote-code" }, "forbids --trust-remote-code"},
		"in pieces":        {deny("--hf-overrides"), func(s *situation) { s.Task.Args = []string{"--hf_overrides.auto_map.x", "y"} }, "forbids --hf-overrides"},
		"by its short one": {deny("--speculative-config"), func(s *situation) { s.Task.Args = []string{"-sc.model=x"} }, `"-sc.model" on the command line`},
		"with a secret":    {deny("--api-key"), func(s *situation) { s.Task.Args = []string{"--api-key=hush"} }, `"--api-key" on the command line`},
		"by a setting": {deny("--tensor-parallel-size"), func(s *situation) { s.Task.TensorParallelSize, s.GPUs = 2, gpus{2, "0,1"} },
			`remove it from args, or the setting that it follows from`},
		"in a file": {deny("--trust-remote-code"), func(s *situation) { s.Task.Args = []string{"--config", "local/vllm.yaml"} },
			`args has "--config": this node's operator forbids some flags (deny_args in the plugin's config), and a file could carry them; write the file's flags in args`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newPlan(good(c.change, c.deny))
			require.ErrorContains(t, err, c.want)
			require.False(t, configError(err).(*startError).IsRecoverable())
		})
	}
	_, err := newPlan(good(deny("--trust-remote-code"), func(s *situation) {
		s.Task.Args = []string{"--no-trust-remote-code", "--trace", "--config-format=hf", "trust-remote-code"}
	}))
	require.NoError(t, err)
	_, err = newPlan(good(func(s *situation) { s.Task.Args = []string{"--config", "local/vllm.yaml", "--trust-remote-code"} }))
	require.NoError(t, err, "without deny_args everything is allowed")
}

func TestDeniedEnv_isTheJobsNotTheAgents(t *testing.T) {
	agent := map[string]string{"HOME": "/root", "LD_LIBRARY_PATH": "/usr/local/cuda/lib64"}
	look := func(name string) (string, bool) { v, ok := agent[name]; return v, ok }
	denied := []string{"LD_*", "PYTHON*", "HOME"}
	env := map[string]string{"PATH": "/bin", "MYPYTHON": "x", "HOME": "/root", "LD_LIBRARY_PATH": "/usr/local/cuda/lib64"}
	require.NoError(t, deniedEnv(denied, env, look), "what Nomad passes on from the agent")
	env["PYTHONPATH"], env["LD_PRELOAD"], env["HOME"] = "local", "", "/alloc"
	err := deniedEnv(denied, env, look)
	for _, want := range []string{
		`env HOME: this node's operator forbids it (deny_env in the plugin's config has "HOME"); remove it from the task's env`,
		`env LD_PRELOAD: this node's operator forbids it (deny_env in the plugin's config has "LD_*")`,
		`env PYTHONPATH: `,
	} {
		require.ErrorContains(t, err, want)
	}
	require.NoError(t, deniedEnv(nil, env, look))
}

func TestStartTask_holdsToThePolicy(t *testing.T) {
	d := New(t.Context(), nullLog())
	d.cfg.AllowCommands, d.cfg.DenyArgs, d.cfg.DenyEnv = []string{"/opt/*/bin/vllm"}, []string{"--trust-remote-code"}, []string{"PYTHON*"}
	c := startable(t, TaskConfig{Args: []string{"--trust-rem"}})
	c.Env = map[string]string{"PYTHONPATH": "local"}
	_, _, err := d.StartTask(c)
	require.ErrorContains(t, err, "(deny_args in the plugin's config)")
	require.ErrorContains(t, err, "(deny_env in the plugin's config")
	c = startable(t, TaskConfig{})
	_, _, err = d.StartTask(c)
	require.ErrorContains(t, err, `this node's operator allows only ["/opt/*/bin/vllm"]`)
}

func TestConfig_policyThatCouldNeverMatchIsRefused(t *testing.T) {
	c := defaultConfig()
	c.AllowCommands = []string{"/opt/*/vllm", "vllm", "/opt/[x"}
	c.DenyArgs = []string{"--trust_remote_code", "trust-remote-code", "-q", "--hf-overrides.x", "--seed=1", "--"}
	c.DenyEnv = []string{"PYTHON*", "", "A=b", "[x"}
	err := c.validate()
	for _, want := range []string{
		`allow_commands has "vllm": want a full path`, `allow_commands has "/opt/[x"`,
		`deny_args has "trust-remote-code": want a whole long flag`, `deny_args has "-q"`, `deny_args has "--hf-overrides.x"`, `deny_args has "--seed=1"`, `deny_args has "--"`,
		`deny_env has "": want a variable's name`, `deny_env has "A=b"`, `deny_env has "[x"`,
	} {
		require.ErrorContains(t, err, want)
	}
	for _, ok := range []string{`"/opt/*/vllm"`, `"--trust_remote_code"`, `"PYTHON*"`} {
		require.NotContains(t, err.Error(), "has "+ok)
	}
}
