package driver

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

// wantedPath is a file or directory that the engine will read.
type wantedPath struct {
	// Setting names it in messages: `model`, `args: --chat-template`.
	Setting string
	// Path as the job wrote it; a relative one begins at the task's directory.
	Path string
	// Maybe: if it is not there, it is no path but a name, of a model for example.
	Maybe bool
	// Model: its directory must hold a model.
	Model bool
}

// pathKind says when the value of a flag is a path.
type pathKind int

const (
	isFile     pathKind = iota
	isRepo              // a path or the name of a repository
	isTemplate          // a path, or the name of one of vLLM's own, or the text itself
	isPlugin            // a path or a Python module
	isLoRA              // name=path or JSON, several
	isSpec              // JSON with a model
)

// pathFlags are the flags of vLLM that name files. What is missing here fails
// in the engine, as before.
func pathFlags() []struct {
	flag string
	kind pathKind
} {
	return []struct {
		flag string
		kind pathKind
	}{
		{"--config", isFile},
		{"--ssl-keyfile", isFile}, {"--ssl-certfile", isFile}, {"--ssl-ca-certs", isFile},
		{"--log-config-file", isFile},
		{"--allowed-local-media-path", isFile},
		{"--mm-encoder-fp8-scale-path", isFile},
		{"--chat-template", isTemplate},
		{"--tokenizer", isRepo}, {"--hf-config-path", isRepo}, {"--generation-config", isRepo}, {"--spec-model", isRepo},
		{"--tool-parser-plugin", isPlugin}, {"--reasoning-parser-plugin", isPlugin},
		{"--lora-modules", isLoRA},
		{"--speculative-config", isSpec},
	}
}

// pathEnv are the variables that name files: vLLM's, LMCache's, Mooncake's.
func pathEnv() []string {
	return []string{lmcacheEnv, "MOONCAKE_CONFIG_PATH", "VLLM_LOGGING_CONFIG_PATH", "VLLM_TUNED_CONFIG_FOLDER", "VLLM_NCCL_SO_PATH"}
}

// paths collects every path that the task's settings name.
func (b *builder) paths() (out []wantedPath) {
	if m := b.Task.Model; m != "" && !strings.HasPrefix(m, "-") {
		out = append(out, repoPath("model", m, true)...)
	}
	for _, f := range pathFlags() {
		setting := "args: " + f.flag
		for _, v := range flagValues(b.Task.Args, f.flag) {
			if v == "" { // as if it were not there
				continue
			}
			switch f.kind {
			case isFile:
				out = append(out, wantedPath{Setting: setting, Path: v})
			case isRepo:
				out = append(out, repoPath(setting, v, false)...)
			case isTemplate:
				if !strings.ContainsAny(v, "{}\n") { // as vLLM tells them apart
					out = append(out, wantedPath{Setting: setting, Path: v, Maybe: !strings.Contains(v, "/")})
				}
			case isPlugin:
				if strings.Contains(v, "/") || strings.HasSuffix(v, ".py") {
					out = append(out, wantedPath{Setting: setting, Path: v})
				}
			case isLoRA:
				out = append(out, repoPath(setting, loraPath(v), false)...)
			case isSpec:
				var spec struct{ Model string }
				if json.Unmarshal([]byte(v), &spec) == nil {
					out = append(out, repoPath(setting, spec.Model, false)...)
				}
			}
		}
	}
	for _, name := range pathEnv() {
		path := b.plan.Env[name]
		if path == "" || slices.ContainsFunc(b.Files, func(f file) bool { return f.Path == path }) {
			continue // not set, or the driver writes it
		}
		out = append(out, wantedPath{Setting: "env " + name, Path: path})
	}
	return out
}

// repoPath is a model or the like, unless it can only be a name: what is not
// found on this node is looked for on huggingface.co.
func repoPath(setting, value string, model bool) []wantedPath {
	if value == "" || strings.Contains(value, "://") {
		return nil
	}
	path := filepath.IsAbs(value) || strings.HasPrefix(value, "./") || strings.HasPrefix(value, "../") ||
		strings.Count(value, "/") > 1 && !strings.HasSuffix(value, ".gguf")
	return []wantedPath{{Setting: setting, Path: value, Maybe: !path, Model: model}}
}

// loraPath is the path in an item of --lora-modules.
func loraPath(item string) string {
	if _, path, ok := strings.Cut(item, "="); ok && !strings.Contains(item, ",") {
		return path
	}
	var lora struct{ Path string }
	_ = json.Unmarshal([]byte(item), &lora) // no JSON: vLLM says so
	return lora.Path
}

// checkPaths looks at each path with the rights of the task's user, and at
// whether that user may execute the engine.
func (p prober) checkPaths(paths []wantedPath, spec shim.Spec, userName string) error {
	if len(paths) == 0 && spec.User == nil {
		return nil
	}
	if userName == "" {
		userName = fmt.Sprintf("the agent's user (%d)", os.Getuid())
	} else {
		userName = fmt.Sprintf("user %q", userName)
	}
	var at atomic.Pointer[wantedPath]
	look := func() error {
		var errs []error
		if spec.User != nil {
			errs = append(errs, mayExecute(spec.Path, userName))
		}
		for _, w := range paths {
			at.Store(&w)
			errs = append(errs, w.check(spec.WorkDir, userName))
		}
		return errors.Join(errs...)
	}
	done := make(chan error, 1)
	go func() { done <- asUser(spec.User, look) }()
	limit := time.NewTimer(p.fileLimit)
	defer limit.Stop()
	select {
	case err := <-done:
		return err
	case <-limit.C: // the thread that waits ends when its file system answers
		w := at.Load()
		if w == nil {
			w = &wantedPath{Setting: "command", Path: spec.Path}
		}
		return &recoverable{fmt.Errorf("%s %q: its file system has not answered for %s; is the server that it is mounted from reachable?", w.Setting, w.Path, p.fileLimit)}
	}
}

// check looks at one path, as whoever calls it.
func (w wantedPath) check(workDir, userName string) error {
	path := w.Path
	if !filepath.IsAbs(path) {
		path = filepath.Join(workDir, path)
	}
	dir, err := openable(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR):
		if w.Maybe {
			return nil
		}
		return fmt.Errorf("%s %q: there is no %s on this node; bring it with an artifact, template or volume block, or correct the path", w.Setting, w.Path, path)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s %q: %s may not read it, because it may not %s; give that user access (chmod, setfacl), or run the task as another one", w.Setting, w.Path, userName, obstacle(path))
	case err != nil:
		return fmt.Errorf("%s %q: open %s: %w", w.Setting, w.Path, path, err)
	case dir && w.Model:
		return w.checkModel(path, userName)
	}
	return nil
}

// maxModelFiles bounds the look into a model's directory.
const maxModelFiles = 1000

// checkModel looks whether a directory holds a model whose files can be read:
// weights that the task's user may not read fail one minute into the start, a
// snapshot whose links point nowhere does as well.
func (w wantedPath) checkModel(dir, userName string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("%s %q: list %s: %w", w.Setting, w.Path, dir, err)
	}
	isConfig := func(e fs.DirEntry) bool {
		return e.Name() == "config.json" || e.Name() == "params.json" || strings.HasSuffix(e.Name(), ".gguf")
	}
	if !slices.ContainsFunc(entries, isConfig) {
		return fmt.Errorf("%s %q: there is no config.json (nor Mistral's params.json) in it; name the directory that holds the weights (in a Hugging Face cache: models--.../snapshots/...)", w.Setting, w.Path)
	}
	for _, e := range entries[:min(len(entries), maxModelFiles)] {
		if e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		part := w
		part.Path, part.Maybe, part.Model = filepath.Join(dir, e.Name()), false, false
		if err := part.check("", userName); err != nil {
			return err
		}
	}
	return nil
}

// openable tries to open a file for reading, or a directory for listing and
// searching, and says which it is.
func openable(path string) (dir bool, err error) {
	const flags = unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC
	fd, err := unix.Open(path, flags, 0)
	if err != nil {
		return false, err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return false, err
	}
	in, err := unix.Openat(fd, ".", flags|unix.O_DIRECTORY, 0) // needs the right to search it
	if err == nil {
		unix.Close(in)
	}
	return true, err
}

// mayExecute looks whether the task's user may execute the engine. On kernels
// that cannot tell (before 5.8), exec will.
func mayExecute(path, userName string) error {
	if err := access(path, unix.X_OK); errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("command: %s may not execute %s, because it may not %s; give that user access (chmod, setfacl), or run the task as another one", userName, path, obstacle(path))
	}
	return nil
}

// obstacle names what on the way to a file the calling thread may not pass:
// a directory somewhere above it, most often.
func obstacle(path string) string {
	dirs := []string{}
	for d := filepath.Dir(path); ; d = filepath.Dir(d) {
		dirs = append(dirs, d)
		if d == filepath.Dir(d) {
			break
		}
	}
	slices.Reverse(dirs)
	for _, d := range dirs {
		if err := access(d, unix.X_OK); errors.Is(err, fs.ErrPermission) {
			// A link in the middle shows where it leads only by its target.
			if target, err := os.Readlink(d); err == nil {
				if !filepath.IsAbs(target) {
					target = filepath.Join(filepath.Dir(d), target)
				}
				return obstacle(target)
			}
			return describeMode(d, "search")
		}
	}
	if target, err := os.Readlink(path); err == nil {
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		return obstacle(target)
	}
	return describeMode(path, "read or execute")
}

func describeMode(path, verb string) string {
	info, err := os.Lstat(path)
	if err != nil {
		return err.Error()
	}
	var st unix.Stat_t
	_ = unix.Lstat(path, &st)
	return fmt.Sprintf("%s %s (%s, user %d, group %d)", verb, path, info.Mode(), st.Uid, st.Gid)
}
