package vllm

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// byValue lists the JSON keys whose values are part of vLLM's protocol rather
// than of one answer: they must be equal, where every other value need only be
// of the same kind.
var byValue = []string{
	"object", "role", "finish_reason", "stop_reason", "type", "code", "param", "index", "model", "status", "truncation", "tool_choice",
	"do_remote_prefill", "do_remote_decode", "tp_size", "dcp_size", "pp_size", "transfer_mode", "reason",
	"completion_tokens", "output_tokens", "root", "owned_by", "max_model_len", "max_output_tokens", "temperature", "top_p",
}

// differences compares two answers to the same request. The first is the real one.
func differences(want, got answer) []string {
	if want.Status != got.Status {
		return []string{fmt.Sprintf("status %s, not %s", statusOf(got), statusOf(want))}
	}
	var out []string
	if (want.Err == "") != (got.Err == "") {
		out = append(out, fmt.Sprintf("ends with %q, not %q", got.Err, want.Err))
	}
	if w, g := want.Header.Get("Content-Type"), got.Header.Get("Content-Type"); w != g {
		out = append(out, fmt.Sprintf("content-type %q, not %q", g, w))
	}
	for _, h := range []string{"X-Request-Id", "Endpoint-Load-Metrics", "Allow", "Www-Authenticate"} {
		if (want.Header.Get(h) == "") != (got.Header.Get(h) == "") {
			out = append(out, fmt.Sprintf("header %s %q, not %q", h, got.Header.Get(h), want.Header.Get(h)))
		}
	}
	switch {
	case strings.HasPrefix(want.Step, metricsOf):
		return compareLines(want.Body, got.Body)
	case strings.HasPrefix(want.Header.Get("Content-Type"), "text/event-stream"):
		return append(out, compareLists("events", eventShapes(want.Body), eventShapes(got.Body))...)
	case strings.HasPrefix(want.Header.Get("Content-Type"), "application/json"):
		return append(out, compareJSON("", parseJSON(want.Body), parseJSON(got.Body))...)
	case want.Body != got.Body:
		out = append(out, fmt.Sprintf("body %.80q, not %.80q", got.Body, want.Body))
	}
	return out
}

func statusOf(a answer) string {
	if a.Status == 0 {
		return "none (" + a.Err + ")"
	}
	return fmt.Sprintf("%d %.200s", a.Status, a.Body)
}

func parseJSON(text string) any {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return "not JSON: " + text
	}
	return loosen(v)
}

// loosen takes out what depends on the text of an answer that a stop string
// ended: which string, and after how many tokens.
func loosen(v any) any {
	top, _ := v.(map[string]any)
	loosenNamed(top)
	choices, _ := top["choices"].([]any)
	for _, c := range choices {
		choice, _ := c.(map[string]any)
		if choice["finish_reason"] != "stop" {
			continue
		}
		choice["stop_reason"] = kindOf(choice["stop_reason"])
		if usage, ok := top["usage"].(map[string]any); ok {
			usage["completion_tokens"] = "stopped"
		}
	}
	return v
}

// loosenNamed is loosen for responses and messages, whole or in events.
func loosenNamed(top map[string]any) {
	delta, _ := top["delta"].(map[string]any)
	if top["status"] == "completed" || top["stop_reason"] == "stop_sequence" || delta["stop_reason"] == "stop_sequence" {
		if usage, ok := top["usage"].(map[string]any); ok {
			usage["output_tokens"] = "stopped"
		}
	}
	if inner, ok := top["response"].(map[string]any); ok {
		loosenNamed(inner)
	}
}

// compareJSON compares keys, kinds and, for the keys of byValue, values. Of a
// list of alike things the first and the last stand for all; lists of choices are compared
// one by one.
func compareJSON(path string, want, got any) []string {
	w, wok := want.(map[string]any)
	g, gok := got.(map[string]any)
	if wok && gok {
		return compareObjects(path, w, g)
	}
	wl, wok := want.([]any)
	gl, gok := got.([]any)
	if wok && gok {
		return compareArrays(path, wl, gl)
	}
	if kindOf(want) != kindOf(got) {
		return []string{fmt.Sprintf("%s is %s %.120v, not %s %.120v", path, kindOf(got), got, kindOf(want), want)}
	}
	if slices.Contains(byValue, path[strings.LastIndex(path, ".")+1:]) && want != got {
		return []string{fmt.Sprintf("%s is %v, not %v", path, got, want)}
	}
	return nil
}

// keyedByToken are objects whose keys are tokens or token ids: any entry stands for all.
var keyedByToken = []string{".top_logprobs[]", ".prompt_logprobs[]"}

func compareObjects(path string, want, got map[string]any) []string {
	var out []string
	if slices.ContainsFunc(keyedByToken, func(p string) bool { return strings.HasSuffix(path, p) }) && want["token"] == nil {
		return compareArrays(path, slices.Collect(maps.Values(want)), slices.Collect(maps.Values(got)))
	}
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if _, ok := got[k]; !ok {
			out = append(out, fmt.Sprintf("%s.%s is missing", path, k))
			continue
		}
		out = append(out, compareJSON(path+"."+k, want[k], got[k])...)
	}
	for _, k := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[k]; !ok {
			out = append(out, fmt.Sprintf("%s.%s is not vLLM's", path, k))
		}
	}
	return out
}

func compareArrays(path string, want, got []any) []string {
	if (len(want) == 0) != (len(got) == 0) || strings.HasSuffix(path, ".choices") && len(want) != len(got) {
		return []string{fmt.Sprintf("%s has %d elements, not %d", path, len(got), len(want))}
	}
	if strings.HasSuffix(path, ".choices") {
		var out []string
		for i := range want {
			out = append(out, compareJSON(path+"[]", want[i], got[i])...)
		}
		return out
	}
	if len(want) == 0 {
		return nil
	}
	// The first log probability is null, so that the last has a say too.
	out := compareJSON(path+"[]", want[0], got[0])
	if len(want) > 1 && len(got) > 1 && len(out) == 0 {
		out = compareJSON(path+"[]", want[len(want)-1], got[len(got)-1])
	}
	return out
}

func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "null"
	case bool:
		return "bool"
	case float64:
		return "number"
	case string:
		return "string"
	case []any:
		return "list"
	}
	return "object"
}

// eventShapes describes a stream of server-sent events, runs of alike ones
// folded. Several choices take turns as they like: of them, only which events
// there are is told.
func eventShapes(stream string) []string {
	out := foldedEvents(stream)
	if slices.ContainsFunc(out, func(s string) bool { return strings.Contains(s, "index=1") }) {
		slices.Sort(out)
		return slices.Compact(out)
	}
	return out
}

func foldedEvents(stream string) []string {
	var out []string
	for block := range strings.SplitSeq(stream, "\n\n") {
		if block == "" {
			continue
		}
		if s := eventShape(block); len(out) == 0 || out[len(out)-1] != s {
			out = append(out, s)
		}
	}
	return out
}

func eventShape(block string) string {
	var parts []string
	for line := range strings.SplitSeq(block, "\n") {
		field, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		if field == "data" && value != "[DONE]" {
			v := parseJSON(value)
			if event, ok := v.(map[string]any); ok && fmt.Sprint(event["choices"]) != "[]" && event["usage"] != nil {
				event["usage"] = "so far" // vLLM may put two tokens into one event
			}
			value = describe("", v)
		}
		parts = append(parts, field+": "+value)
	}
	return strings.Join(parts, " | ")
}

// describe writes a value's shape: kinds, and values for the keys of byValue.
func describe(key string, v any) string {
	switch v := v.(type) {
	case map[string]any:
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, k+"="+describe(k, v[k]))
		}
		return "{" + strings.Join(parts, " ") + "}"
	case []any:
		if len(v) == 0 {
			return "[]"
		}
		if first, ok := v[0].(map[string]any); ok && key == "top_logprobs" && first["token"] == nil {
			return "[tokens]"
		}
		return "[" + describe("", v[0]) + "]"
	}
	if slices.Contains(byValue, key) {
		return fmt.Sprint(v)
	}
	return kindOf(v)
}

func compareLists(what string, want, got []string) []string {
	if slices.Equal(want, got) {
		return nil
	}
	for i := range max(len(want), len(got)) {
		w, g := "nothing", "nothing"
		if i < len(want) {
			w = want[i]
		}
		if i < len(got) {
			g = got[i]
		}
		if w != g {
			return []string{fmt.Sprintf("%s[%d] (runs folded) is %.700s, not %.700s", what, i, g, w)}
		}
	}
	return nil
}

func compareLines(want, got string) []string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	var out []string
	for _, l := range w {
		if !slices.Contains(g, l) {
			out = append(out, l+" is missing")
		}
	}
	for _, l := range g {
		if !slices.Contains(w, l) {
			out = append(out, l+" is not vLLM's")
		}
	}
	return out
}
