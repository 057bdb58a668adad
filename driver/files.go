package driver

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

// file is one that the engine reads at its start.
type file struct {
	Path    string
	Content []byte
}

// broughtFile is a file that the job names, as it was found.
type broughtFile struct {
	Path    string // absolute
	Content []byte
	Err     error
}

// write plans a file in the task's secrets and returns its path.
func (b *builder) write(name string, content []byte) string {
	path := filepath.Join(b.SecretsDir, name)
	b.Files = append(b.Files, file{path, content})
	return path
}

// writeFiles puts the files there for the task's user only. The directory is
// the task's to write: a link that an earlier run left in the place of a file
// is replaced, never followed.
func writeFiles(files []file, owner *shim.Credential) error {
	for _, f := range files {
		if err := writeFile(f, owner); err != nil {
			return fmt.Errorf("write %s: %w", filepath.Base(f.Path), err)
		}
	}
	return nil
}

func writeFile(f file, owner *shim.Credential) (err error) {
	if err := os.MkdirAll(filepath.Dir(f.Path), 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(f.Path), "."+filepath.Base(f.Path)) // 0600
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, tmp.Close()); err != nil {
			_ = os.Remove(tmp.Name())
		}
	}()
	if _, err := tmp.Write(f.Content); err != nil {
		return err
	}
	if owner != nil {
		if err := tmp.Chown(int(owner.UID), int(owner.GID)); err != nil {
			return err
		}
	}
	return os.Rename(tmp.Name(), f.Path)
}

// maxBrought bounds a file that the job names.
const maxBrought = 1 << 20

// readBrought reads the files that a task names as its connectors' own. They
// must lie in the task's directory: the agent may read what the job may not.
func readBrought(tc TaskConfig, env map[string]string, taskDir string) map[string]broughtFile {
	out := map[string]broughtFile{}
	if tc.KVTransfer == nil {
		return out
	}
	for _, kv := range append([]KVTransfer{*tc.KVTransfer}, tc.KVTransfer.Parts...) {
		if path := lmcacheFileOf(env, kv.LMCache); path != "" {
			out[path] = readInside(taskDir, path)
		}
	}
	return out
}

func readInside(dir, path string) broughtFile {
	f := broughtFile{Path: path}
	if !filepath.IsAbs(path) {
		f.Path = filepath.Join(dir, path)
	}
	rel, err := filepath.Rel(dir, f.Path)
	if err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		f.Err = errors.New("not in the task's directory; bring it with a template or artifact block")
		return f
	}
	f.Content, f.Err = readRegular(dir, rel)
	return f
}

// readRegular reads a file below dir without leaving it by a link, and without
// waiting for a fifo.
func readRegular(dir, rel string) ([]byte, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	f, err := root.OpenFile(rel, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(errors.New("not a regular file"), err)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxBrought+1))
	if len(b) > maxBrought {
		return nil, fmt.Errorf("larger than %d bytes", maxBrought)
	}
	return b, err
}
