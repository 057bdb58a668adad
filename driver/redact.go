package driver

import (
	"regexp"
	"strings"
)

// secretFlag tells the flags of vLLM whose value must not be shown: API keys,
// tokens, passwords. ("--tokenizer" and the like are not secrets.)
const secretFlag = `(?i)^--?([a-z0-9_-]*[-_.])?(api-key|api_key|hf-token|hf_token|auth-token|password|secret|credential)s?$`

// commandLine shows a command as one could type it, without its secrets.
func commandLine(argv []string) string {
	secret := regexp.MustCompile(secretFlag)
	var out []string
	hide := false
	for _, a := range argv {
		name, _, hasValue := strings.Cut(a, "=")
		switch {
		case strings.HasPrefix(a, "-") && secret.MatchString(name):
			if hide = !hasValue; hasValue {
				a = name + "=<redacted>"
			}
		case hide && !strings.HasPrefix(a, "-"): // --api-key takes several values
			a = "<redacted>"
		default:
			hide = false
		}
		out = append(out, quote(a))
	}
	return strings.Join(out, " ")
}

func quote(a string) string {
	if a != "" && !strings.ContainsAny(a, " \t\n\"'\\$`*?[]{}()<>|&;#~!") || a == "<redacted>" {
		return a
	}
	if strings.HasSuffix(a, "=<redacted>") {
		return a
	}
	return "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
}
