package driver

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

// What a node's operator forbids its tasks: allow_commands, deny_args and
// deny_env of the plugin's config. docs/driver.md says what this does not
// protect from.

// validatePolicy refuses entries that could never match anything: the
// operator would believe himself protected.
func (c Config) validatePolicy() error {
	var errs []error
	for _, p := range c.AllowCommands {
		if _, err := filepath.Match(p, ""); err != nil || !filepath.IsAbs(p) {
			errs = append(errs, fmt.Errorf(`allow_commands has %q: want a full path, "*" standing for a part of one directory's or file's name`, p))
		}
	}
	for _, f := range c.DenyArgs {
		if !strings.HasPrefix(f, "--") || normalFlag(f) != strings.ReplaceAll(f, "_", "-") || len(f) < 3 || strings.ContainsAny(f, " \t") {
			errs = append(errs, fmt.Errorf(`deny_args has %q: want a whole long flag without a value, "--trust-remote-code" for example`, f))
		}
	}
	for _, v := range c.DenyEnv {
		if _, err := filepath.Match(v, ""); err != nil || v == "" || strings.ContainsAny(v, "=/") {
			errs = append(errs, fmt.Errorf(`deny_env has %q: want a variable's name, "LD_PRELOAD" or "PYTHON*" for example`, v))
		}
	}
	return errors.Join(errs...)
}

// forbidden looks for what deny_args forbids in the finished plan:
// a flag may come from args or from another setting, and is the same flag.
func (b *builder) forbidden() {
	for _, denied := range b.DenyArgs {
		if arg, found := spelled(b.plan.Argv[2:], strings.ReplaceAll(denied, "_", "-")); found {
			arg, _, _ = strings.Cut(arg, "=") // its value may be secret
			b.fail(fmt.Errorf("%q on the command line: this node's operator forbids %s (deny_args in the plugin's config); remove it from args, or the setting that it follows from",
				arg, denied))
		}
	}
	if arg, found := spelled(b.Task.Args, "--config"); found && len(b.DenyArgs) > 0 {
		// The file may change between a look at it and the engine's.
		b.fail(fmt.Errorf("args has %q: this node's operator forbids some flags (deny_args in the plugin's config), and a file could carry them; write the file's flags in args", arg))
	}
}

// deniedEnv looks for what deny_env forbids. Nomad passes the agent's own
// variables on to its tasks; those are the operator's, not the job's.
func deniedEnv(denied []string, env map[string]string, agents func(string) (string, bool)) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(env)) {
		if v, ok := agents(name); ok && v == env[name] {
			continue
		}
		if i := slices.IndexFunc(denied, func(p string) bool { ok, _ := filepath.Match(p, name); return ok }); i >= 0 {
			errs = append(errs, fmt.Errorf("env %s: this node's operator forbids it (deny_env in the plugin's config has %q); remove it from the task's env", name, denied[i]))
		}
	}
	return errors.Join(errs...)
}

// allowedCommand returns the file to execute: path itself where everything is
// allowed, else what it is after all links, if that is on the list and nobody
// can put something else in its place.
func (c Config) allowedCommand(name, path, allocDir string, user *shim.Credential) (string, error) {
	allow := c.AllowCommands
	if len(allow) == 0 {
		return path, nil
	}
	file, err := filepath.EvalSymlinks(path)
	if err != nil {
		return "", fmt.Errorf("command %q: %w", name, err)
	}
	if !slices.ContainsFunc(allow, func(pattern string) bool { return matchesFile(pattern, file) }) {
		return "", fmt.Errorf("command %q is %s: this node's operator allows only %q (allow_commands in the plugin's config); use one of them, or ask for this one to be added",
			name, file, allow)
	}
	if real, err := filepath.EvalSymlinks(allocDir); err == nil && within(real, file) {
		return "", fmt.Errorf("command %q is %s: the job itself can write there, so allow_commands of the plugin's config does not hold for it; install it outside of the allocation", name, file)
	}
	changeable, err := changeableBy(file, user)
	if err != nil {
		return "", fmt.Errorf("command %q: %w", name, err)
	}
	if changeable != "" {
		return "", fmt.Errorf("command %q is %s: others than its owner may change %s, so allow_commands of the plugin's config would protect nothing; chmod go-w %s",
			name, file, changeable, changeable)
	}
	if startsByPath(file) && !slices.ContainsFunc(c.DenyEnv, func(p string) bool { ok, _ := filepath.Match(p, "PATH"); return ok }) {
		return "", fmt.Errorf("command %q is %s: its first line looks its interpreter up on PATH, which the job may set, so allow_commands of the plugin's config would protect nothing; write the interpreter's full path there, or add \"PATH\" to deny_env", name, file)
	}
	return file, nil
}

// startsByPath reports whether a script begins with #!/usr/bin/env.
func startsByPath(file string) bool {
	f, err := os.Open(file)
	if err != nil {
		return false // then nothing can execute it either
	}
	defer f.Close()
	line, _ := bufio.NewReaderSize(f, firstLineMax).ReadSlice('\n')
	script, ok := strings.CutPrefix(string(line), "#!")
	fields := strings.Fields(script)
	return ok && len(fields) > 0 && filepath.Base(fields[0]) == "env"
}

// matchesFile reports whether a pattern names the file, directly or by links
// that the operator has put there, /opt/vllm -> /opt/vllm-0.33 for example.
func matchesFile(pattern, file string) bool {
	if ok, _ := filepath.Match(pattern, file); ok {
		return true
	}
	named, _ := filepath.Glob(pattern)
	return slices.ContainsFunc(named, func(p string) bool {
		real, err := filepath.EvalSymlinks(p)
		return err == nil && real == file
	})
}

// within reports whether path lies below dir.
func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// changeableBy finds, among a file and the directories on its way, the first
// that everybody or the task's user may write; empty: none. A task that runs
// as the agent's own user may change whatever that one may, so for it only the
// first half can be checked.
func changeableBy(file string, user *shim.Credential) (found string, err error) {
	for path := file; ; path = filepath.Dir(path) {
		info, err := os.Lstat(path)
		if err != nil {
			return "", err
		}
		// In a sticky directory nobody replaces what is another's.
		sticky := info.Mode()&fs.ModeSticky != 0 && path != filepath.Dir(file)
		if info.Mode().Perm()&0o002 != 0 && !sticky {
			return path, nil
		}
		if user != nil && !sticky {
			if asUser(user, func() error { return access(path, unix.W_OK) }) == nil {
				return path, nil
			}
		}
		if path == filepath.Dir(path) {
			return "", nil
		}
	}
}
