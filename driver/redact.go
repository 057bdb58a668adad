package driver

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
)

const (
	// secretName tells by their names the flags, variables and JSON keys whose
	// value must not be shown. ("tokenizer" and "max_num_seqs" are none, nor
	// are plural tokens, which are counted.)
	secretName = `(?i)(^|[-_.])(api[-_]?keys?|access[-_]?keys?|secret[-_]?keys?|private[-_]?keys?|token|passwords?|passwd|secrets?|credentials?)$`
	// urlSecret is the password in scheme://user:password@host.
	urlSecret = `([a-zA-Z][a-zA-Z0-9+.-]*://[^/@\s:"]*):[^/@\s"]+@`

	hidden = "<redacted>"
	// shortest is the length of a variable's value below which it is not
	// looked for elsewhere: too much is the same by chance.
	shortest = 6
)

// redactor shows a command as one could type it, without its secrets.
type redactor struct {
	name, url *regexp.Regexp
	// values are those of the task's secret variables: a job may well write
	// ${HF_TOKEN} where nobody looks for it.
	values []string
}

// commandLine shows a command and hides what its names, or the environment's,
// say is secret.
func commandLine(argv []string, env map[string]string) string {
	r := redactor{name: regexp.MustCompile(secretName), url: regexp.MustCompile(urlSecret)}
	for _, k := range slices.Sorted(maps.Keys(env)) {
		if v := env[k]; len(v) >= shortest && r.name.MatchString(k) {
			r.values = append(r.values, v)
		}
	}
	// The longest first, so that nothing is left of one that holds another.
	slices.SortStableFunc(r.values, func(a, b string) int { return len(b) - len(a) })
	var out []string
	hide := false
	for _, a := range argv {
		name, _, hasValue := strings.Cut(a, "=")
		switch {
		case strings.HasPrefix(a, "-") && r.secretFlag(name):
			if hide = !hasValue; hasValue {
				a = name + "=" + hidden
			}
		case hide && !strings.HasPrefix(a, "-"): // --api-key takes several values
			a = hidden
		default:
			hide = false
			a = r.value(a)
		}
		out = append(out, quote(a))
	}
	return strings.Join(out, " ")
}

// secretFlag also knows abbreviations, which vLLM takes.
func (r redactor) secretFlag(name string) bool {
	return r.name.MatchString(name) || spells(name, "--api-key") || spells(name, "--hf-token")
}

// value hides what is secret inside an argument.
func (r redactor) value(a string) string {
	flag, text := "", a
	if f, v, ok := strings.Cut(a, "="); ok && strings.HasPrefix(a, "-") {
		flag, text = f+"=", v
	}
	var parsed any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if strings.ContainsAny(text, "{[") && json.Valid([]byte(text)) && d.Decode(&parsed) == nil && r.hideKeys(parsed) {
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		_ = e.Encode(parsed) // of what was just decoded
		a = flag + strings.TrimSuffix(b.String(), "\n")
	}
	for _, v := range r.values {
		a = strings.ReplaceAll(a, v, hidden)
	}
	return r.url.ReplaceAllString(a, "$1:"+hidden+"@")
}

// hideKeys hides the values of secret keys in parsed JSON, and reports whether
// there were any.
func (r redactor) hideKeys(v any) (found bool) {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			if _, nested := v[k].(map[string]any); r.name.MatchString(k) && !nested && v[k] != nil {
				v[k], found = hidden, true
				continue
			}
			found = r.hideKeys(v[k]) || found
		}
	case []any:
		for i := range v {
			found = r.hideKeys(v[i]) || found
		}
	}
	return found
}

func quote(a string) string {
	if a != "" && !strings.ContainsAny(a, " \t\n\"'\\$`*?[]{}()<>|&;#~!") || a == hidden {
		return a
	}
	if strings.HasSuffix(a, "="+hidden) {
		return a
	}
	return "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
}
