package driver

import (
	"slices"
	"strings"
)

// How `vllm serve` reads its command line, tried out with vLLM 0.32: argparse
// with abbreviations on, so "--trust-rem" is --trust-remote-code and "-qawq"
// is --quantization awq. What looks for a flag in order to refuse it must know
// every spelling of it.

// normalFlag is a flag as vLLM's parser sees it: underscores are dashes, and
// a dotted key belongs to the flag before the dot. Empty: not a flag.
func normalFlag(arg string) string {
	if !strings.HasPrefix(arg, "-") {
		return ""
	}
	name, _, _ := strings.Cut(arg, "=")
	name, _, _ = strings.Cut(name, ".")
	if strings.HasPrefix(name, "--") {
		name = strings.TrimRight(strings.ReplaceAll(name, "_", "-"), "+")
	}
	return name
}

// shortFlags are vLLM's flags with one dash, and the long ones that they stand for.
func shortFlags() map[string][]string {
	return map[string][]string{
		"-ac": {"--attention-config"}, "-asc": {"--api-server-count"}, "-cc": {"--compilation-config"},
		"-dc": {"--diffusion-config"}, "-dcp": {"--decode-context-parallel-size"}, "-dp": {"--data-parallel-size"},
		"-dpa": {"--data-parallel-address"}, "-dpb": {"--data-parallel-backend"}, "-dpe": {"--data-parallel-external-lb"},
		"-dph": {"--data-parallel-hybrid-lb"}, "-dpl": {"--data-parallel-size-local"}, "-dpm": {"--data-parallel-multi-port-external-lb"},
		"-dpn": {"--data-parallel-rank"}, "-dpp": {"--data-parallel-rpc-port"}, "-dpr": {"--data-parallel-start-rank"},
		"-ep": {"--enable-expert-parallel"}, "-h": {"--help"}, "-n": {"--nnodes"}, "-pcp": {"--prefill-context-parallel-size"},
		"-pp": {"--pipeline-parallel-size"}, "-q": {"--quantization"}, "-r": {"--node-rank"}, "-sc": {"--speculative-config"},
		"-tp": {"--tensor-parallel-size"},
		// The second is what -O meant in older versions.
		"-O": {"--optimization-level", "--compilation-config"},
	}
}

// wholeFlags are flags that others begin with. Written out they are themselves
// and no abbreviation of the longer one.
func wholeFlags() []string {
	return []string{
		"--chat-template", "--config", "--data-parallel-size", "--enable-lora", "--grpc", "--kv-cache-dtype", "--kv-cache-metrics",
		"--long-prefill-token-threshold", "--model", "--numa-bind", "--quantization", "--reasoning-parser", "--tokenizer", "--watermark",
	}
}

// spells reports whether vLLM may take arg for the long flag. An abbreviation
// that stands for several flags, which vLLM refuses, counts as each of them.
func spells(arg, flag string) bool {
	name := normalFlag(arg)
	switch {
	case name == "" || name == "-" || name == "--":
		return false
	case !strings.HasPrefix(name, "--"):
		return shortSpells(name, flag)
	case flag == "--gpu-memory-utilization" && strings.HasPrefix("--device-memory-utilization", name): // its other name
		return true
	}
	return name == flag || strings.HasPrefix(flag, name) && !slices.Contains(wholeFlags(), name)
}

// shortSpells does the same for an argument with one dash.
func shortSpells(name, flag string) bool {
	short := shortFlags()
	if long, ok := short[name]; ok {
		return slices.Contains(long, flag)
	}
	for s, long := range short {
		glued := len(s) == 2 && strings.HasPrefix(name, s) // -qawq
		if (glued || strings.HasPrefix(s, name)) && slices.Contains(long, flag) {
			return true
		}
	}
	return false
}

// spelled finds an argument that vLLM may take for the flag.
func spelled(args []string, flag string) (string, bool) {
	i := slices.IndexFunc(args, func(a string) bool { return spells(a, flag) })
	if i < 0 {
		return "", false
	}
	return args[i], true
}

// flagValues are the values of a flag's last occurrence, which is the one that
// counts. A dotted key is not the flag's value.
func flagValues(args []string, flag string) []string {
	for i := len(args) - 1; i >= 0; i-- {
		name, value, joined := strings.Cut(args[i], "=")
		if !spells(args[i], flag) || strings.Contains(name, ".") {
			continue
		}
		if joined {
			return []string{value}
		}
		rest := args[i+1:]
		if end := slices.IndexFunc(rest, func(a string) bool { return strings.HasPrefix(a, "-") }); end >= 0 {
			rest = rest[:end]
		}
		return rest
	}
	return nil
}
