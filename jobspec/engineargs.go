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

// parallelSizes are the sizes that multiply to a server's number of GPUs: the
// key of the config block, and the flag that it becomes.
var parallelSizes = [...]struct{ key, flag string }{
	{"tensor_parallel_size", "--tensor-parallel-size"},
	{"pipeline_parallel_size", "--pipeline-parallel-size"},
	{"data_parallel_size", "--data-parallel-size"},
}

// GPUs is how many GPUs of its node a server uses. typed are the parallel
// sizes of its config block by key, 0 or absent where it sets none; the others
// are looked up in its arguments. written reports whether any is given at all;
// ok is false if one is no positive number, or if the engine spans nodes and
// its share cannot be told from its arguments.
func GPUs(typed map[string]int, args []string) (n int, written, ok bool) {
	n = 1
	for _, p := range parallelSizes {
		size := typed[p.key]
		if size == 0 {
			v, i := FlagValue(args, p.flag)
			if i < 0 {
				continue
			}
			size, _ = strconv.Atoi(v)
		}
		if size < 1 {
			return 0, true, false
		}
		n, written = n*size, true
	}
	return n, written, !spansNodes(args)
}

func spansNodes(args []string) bool {
	if v, i := FlagValue(args, "--distributed-executor-backend"); i >= 0 && v != "mp" && v != "uni" {
		return true
	}
	for _, flag := range []string{"--nnodes", "-n", "--data-parallel-size-local"} {
		if _, i := FlagValue(args, flag); i >= 0 {
			return true
		}
	}
	return false
}

// OwnedFlag reports whether the driver writes this vLLM argument itself, and
// what belongs in the job file instead. set says which keys the config block
// sets: some flags are the driver's only then. It knows "--flag=value", "--flag"
// and vLLM's dotted form "--kv-transfer-config.kv_role".
func OwnedFlag(arg string, set func(key string) bool) (flag, instead string, owned bool) {
	flag = FlagName(arg)
	switch flag {
	case "--model":
		return flag, "config.model", true
	case "--host":
		return flag, "the address of the port label, which the driver passes", true
	case "--port", "--uds":
		return flag, "config.port, a port label of the group's network", true
	case "--kv-transfer-config":
		return flag, "config.role and the kv_transfer block", set(KVTransferBlock)
	}
	for _, p := range parallelSizes {
		if p.flag == flag {
			return flag, "config." + p.key, set(p.key)
		}
	}
	return "", "", false
}
