package driver

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/nomad/plugins/shared/hclspec"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

// Runtime is one vLLM of a node, a runtime block of the plugin's config:
//
//	runtime "v0.33" {
//	  command = "/opt/vllm-0.33/bin/vllm"
//	  env { HF_HOME = "/models" }
//	}
type Runtime struct {
	// Command is its executable: a full path, or a name on PATH. Required.
	Command string `codec:"command"`
	// Python is the interpreter whose packages it runs, for a command that is a
	// wrapper. Default: what the command's first line names, and env's VIRTUAL_ENV.
	Python string `codec:"python"`
	// Env is the environment of its tasks: it replaces what the agent itself
	// has, and a task's own env replaces it.
	Env map[string]string `codec:"env"`
}

// python is the interpreter of its packages as far as it is told: a virtual
// environment that a wrapper only activates is not in the command's first line.
func (r Runtime) python() string {
	if venv := r.Env["VIRTUAL_ENV"]; r.Python == "" && venv != "" {
		return filepath.Join(venv, "bin", "python")
	}
	return r.Python
}

func runtimeSpec() *hclspec.Spec {
	return object(map[string]string{"command": "string", "python": "string", "env": "map"}, nil)
}

// defaultRuntime names the engine of the plugin's own command.
const defaultRuntime = "default"

// runtimes are the node's engines by name.
func (c Config) runtimes() map[string]Runtime {
	out := maps.Clone(c.Runtimes)
	if out == nil {
		out = map[string]Runtime{}
	}
	if c.Command != "" {
		out[defaultRuntime] = Runtime{Command: c.Command, Python: c.Python}
	}
	return out
}

func (c Config) checkRuntimes() error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(c.Runtimes)) {
		r := c.Runtimes[name]
		switch {
		case name == defaultRuntime:
			errs = append(errs, fmt.Errorf("runtime %q: that is the name of the plugin's own command; set command instead, or choose another name", name))
		case !constraintName(name):
			errs = append(errs, fmt.Errorf(`runtime %q: no constraint could name it; write %q (letters, digits, "_" and "-"; after a ".", a number or a letter, and no two numbers)`,
				name, usableName(name)))
		case r.Command == "":
			errs = append(errs, fmt.Errorf(`runtime %q: command is not set; name the engine's executable, "/opt/vllm/bin/vllm" for example`, name))
		case strings.Contains(r.Command, "/") && !filepath.IsAbs(r.Command):
			errs = append(errs, fmt.Errorf("runtime %q: command = %q: want a full path, or a name on PATH", name, r.Command))
		case r.Python != "" && !filepath.IsAbs(r.Python):
			errs = append(errs, fmt.Errorf("runtime %q: python = %q: want the full path of the interpreter", name, r.Python))
		}
	}
	return errors.Join(errs...)
}

// constraintName reports whether "${attr.driver.vllm.runtime.NAME.vllm}" is an
// expression that HCL reads as that text. It takes a number after a dot as an
// index, refuses two of them in a row, and reads "0.33-rc1" as a subtraction.
func constraintName(name string) bool {
	number := false
	for i, part := range strings.Split(name, ".") {
		_, err := strconv.ParseUint(part, 10, 64)
		if err == nil && number || err != nil && !identifier(part) || i == 0 && err == nil {
			return false
		}
		number = err == nil
	}
	return true
}

func identifier(s string) bool {
	for i, r := range s {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || i > 0 && r == '_'
		if !letter && (i == 0 || r != '-' && (r < '0' || r > '9')) {
			return false
		}
	}
	return s != ""
}

// usableName is a name like the given one that constraints can use.
func usableName(name string) string {
	out := strings.Map(func(r rune) rune {
		if identifier("a" + string(r)) {
			return r
		}
		return '-'
	}, name)
	if !identifier(out) {
		out = "v" + strings.TrimLeft(out, "-_")
	}
	return out
}

// engineOf is the engine that a task runs: the one that it brings, the one
// that it names, or the node's own.
func (c Config) engineOf(t TaskConfig) (Runtime, error) {
	have := c.runtimes()
	switch r, ok := have[t.Runtime]; {
	case t.Runtime != "" && t.Command != "":
		return Runtime{}, fmt.Errorf("runtime = %q and command = %q both name the engine; remove one of them", t.Runtime, t.Command)
	case t.Command != "":
		return Runtime{Command: t.Command}, nil
	case ok:
		return r, nil
	case t.Runtime != "":
		return Runtime{}, fmt.Errorf(`runtime %q: this node has %s; add constraint { attribute = "${attr.driver.vllm.runtime.%s.healthy}" value = "true" } so that Nomad places the task where it is`,
			t.Runtime, names(have), t.Runtime)
	}
	if own, ok := have[defaultRuntime]; ok {
		return own, nil
	}
	return Runtime{}, fmt.Errorf("runtime: not set, and the plugin's config on this node has no command of its own; set it to one of %s", names(have))
}

func names[V any](of map[string]V) string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		out = append(out, strconv.Quote(name))
	}
	return strings.Join(out, ", ")
}

// withRuntimeEnv puts a runtime's environment under a task's. Nomad hands over
// the task's env with the agent's own variables in it: what the agent, of which
// this process is a child, has just so is taken for those, because a PATH of
// the runtime would never hold otherwise.
func withRuntimeEnv(task, runtime map[string]string) map[string]string {
	out := maps.Clone(task)
	if out == nil {
		out = map[string]string{}
	}
	for k, v := range runtime {
		agents, inherited := os.LookupEnv(k)
		if given, set := out[k]; !set || inherited && given == agents {
			out[k] = v
		}
	}
	return out
}

// versionsOf are the packages of the engine that a task runs; what cannot be
// found is reported where it is started.
func versionsOf(t TaskConfig, engine Runtime, known *packageCache, env map[string]string, taskDir string) map[string]string {
	path, err := shim.LookPath(engine.Command, envList(env), taskDir)
	if err != nil {
		return nil
	}
	if t.Command != "" { // its own, gone when the task is
		engine.Env = env
		return readPackages(path, engine.python()).versions
	}
	return known.of(path, engine.python())
}
