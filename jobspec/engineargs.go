package jobspec

import (
	"strconv"
	"strings"
)

// longFlag spells out vLLM's abbreviations of the flags that this package reads.
func longFlag(short string) string {
	switch short {
	case "-tp":
		return "--tensor-parallel-size"
	case "-pp":
		return "--pipeline-parallel-size"
	case "-dp":
		return "--data-parallel-size"
	case "-dpl":
		return "--data-parallel-size-local"
	}
	return short
}

// FlagName is the flag that an argument sets, in its long form with dashes:
// vLLM takes underscores and dotted sub-keys as well. An argument that is no
// flag gives "".
func FlagName(arg string) string {
	if !strings.HasPrefix(arg, "-") {
		return ""
	}
	name, _, _ := strings.Cut(arg, "=")
	name, _, _ = strings.Cut(name, ".")
	return strings.ReplaceAll(longFlag(name), "_", "-")
}

// FlagValue finds a flag's value in a list of vLLM arguments, written as
// "--flag=value" or as two arguments. The last one wins, as it does in vLLM.
// index is where the flag stands, -1 if nowhere.
func FlagValue(args []string, flag string) (value string, index int) {
	index = -1
	for i, a := range args {
		if FlagName(a) != flag {
			continue
		}
		index = i
		if _, v, ok := strings.Cut(a, "="); ok {
			value = v
		} else if i+1 < len(args) {
			value = args[i+1]
		}
	}
	return value, index
}

// GPUs is how many GPUs of its node a server with these arguments uses: the
// product of its tensor, pipeline and (local) data parallel sizes. written
// reports whether any of them stands in the arguments; ok is false if one is
// no positive number.
func GPUs(args []string) (n int, written, ok bool) {
	n = 1
	data := "--data-parallel-size"
	if _, i := FlagValue(args, "--data-parallel-size-local"); i >= 0 {
		data = "--data-parallel-size-local"
	}
	for _, flag := range []string{"--tensor-parallel-size", "--pipeline-parallel-size", data} {
		v, i := FlagValue(args, flag)
		if i < 0 {
			continue
		}
		size, err := strconv.Atoi(v)
		if err != nil || size < 1 {
			return 0, true, false
		}
		n, written = n*size, true
	}
	return n, written, true
}
