package shim

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// LookPath finds the executable of a command as execvp would in the task: a
// name with a slash is relative to the task's directory, any other is looked
// up in the PATH of env and then of the driver's own process.
func LookPath(name string, env []string, workDir string) (string, error) {
	if strings.Contains(name, "/") {
		path := name
		if !filepath.IsAbs(path) {
			path = filepath.Join(workDir, path)
		}
		if err := executable(path); err != nil {
			return "", fmt.Errorf("command %q: %w", name, err)
		}
		return path, nil
	}
	var searched []string
	for _, list := range []string{pathOf(env), os.Getenv("PATH")} {
		for _, dir := range filepath.SplitList(list) {
			if !filepath.IsAbs(dir) { // the shim's own directory is not the task's
				continue
			}
			path := filepath.Join(dir, name)
			if executable(path) == nil {
				return path, nil
			}
		}
		if list != "" && (len(searched) == 0 || searched[0] != list) {
			searched = append(searched, list)
		}
	}
	return "", fmt.Errorf("command %q: not found on PATH (%s); install it there or name its full path", name, strings.Join(searched, ", then "))
}

func pathOf(env []string) string {
	found := ""
	for _, kv := range env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			found = v
		}
	}
	return found
}

func executable(path string) error {
	st, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case st.IsDir():
		return fmt.Errorf("%s is a directory", path)
	case st.Mode()&0o111 == 0:
		return fmt.Errorf("%s is not executable; chmod +x it", path)
	}
	return nil
}
