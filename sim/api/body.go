package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// body is a request's JSON object, read the lax way that pydantic does. Its
// methods collect what is wrong with the fields instead of failing.
type body struct {
	m    map[string]any
	errs []fieldError
}

type fieldError struct {
	kind, loc, msg, input string
}

// readBody reads a JSON request or says what is wrong with it.
func readBody(r *http.Request) (*body, *failure) {
	media, _, _ := strings.Cut(strings.ToLower(r.Header.Get("Content-Type")), ";")
	if strings.TrimSpace(media) != "application/json" {
		return nil, malformed(nil, "Unsupported Media Type: Only 'application/json' is allowed")
	}
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, internal("read body: " + err.Error())
	}
	if len(raw) == 0 {
		return nil, validation([]fieldError{{"missing", "body", "Field required", "None"}})
	}
	if !utf8.Valid(raw) {
		return nil, &failure{Code: http.StatusBadRequest, detail: "There was an error parsing the body"}
	}
	raw = pythonNumbers(raw)
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	err = dec.Decode(&v)
	if err == nil && len(bytes.TrimSpace(raw[dec.InputOffset():])) > 0 {
		err = errors.New("Extra data")
	}
	if err != nil {
		return nil, validation([]fieldError{{"json_invalid", "body." + strconv.Itoa(offset(err, dec, raw)), "JSON decode error", "<dict of 0 items>"}})
	}
	m, ok := v.(map[string]any)
	if !ok {
		return nil, validation([]fieldError{{"model_attributes_type", "body", "Input should be a valid dictionary or object to extract fields from", show(v)}})
	}
	return &body{m: m}, nil
}

// offset is where the text stops being JSON.
func offset(err error, dec *json.Decoder, raw []byte) int {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return int(syntax.Offset) - 1
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return len(raw)
	}
	return int(dec.InputOffset())
}

func malformed(param *string, message string) *failure {
	return &failure{Message: "1 validation error:\n  " + message, Type: badForm, Param: param, Code: http.StatusBadRequest}
}

// validation is a failure that lists at most ten of the problems.
func validation(errs []fieldError) *failure {
	var b strings.Builder
	s := ""
	if len(errs) > 1 {
		s = "s"
	}
	fmt.Fprintf(&b, "%d validation error%s:", len(errs), s)
	for i, e := range errs {
		if i == 10 {
			fmt.Fprintf(&b, "\n  ...and %d more errors", len(errs)-10)
			break
		}
		fmt.Fprintf(&b, "\n  {'type': '%s', 'loc': '%s', 'msg': '%s', 'input': %s}", e.kind, e.loc, e.msg, quoted(e.input))
	}
	loc := errs[0].loc
	return &failure{Message: b.String(), Type: badForm, Param: &loc, Code: http.StatusBadRequest}
}

func quoted(s string) string { return "'" + s + "'" }

func show(v any) string {
	switch v := v.(type) {
	case map[string]any:
		return fmt.Sprintf("<dict of %d items>", len(v))
	case []any:
		return fmt.Sprintf("<list of %d items>", len(v))
	case nil:
		return "None"
	}
	return fmt.Sprint(v)
}

func (b *body) fail(kind, name, msg string, v any) {
	b.errs = append(b.errs, fieldError{kind, "body." + name, msg, show(v)})
}

// failure is what is wrong so far, nil if nothing is.
func (b *body) failure() *failure {
	if len(b.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(b.errs, func(x, y fieldError) int { return fieldOrder(x.loc) - fieldOrder(y.loc) })
	return validation(b.errs)
}

// has reports whether the field is there and not null.
func (b *body) has(name string) bool { return b.m[name] != nil }

func (b *body) text(name string) string {
	switch v := b.m[name].(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		b.fail("string_type", name, "Input should be a valid string", v)
		return ""
	}
}

func (b *body) number(name string, otherwise float64) float64 {
	switch v := b.m[name].(type) {
	case nil:
		return otherwise
	case json.Number:
		f, _ := v.Float64()
		return f
	case bool:
		return map[bool]float64{true: 1}[v]
	case string:
		f, err := strconv.ParseFloat(strings.TrimPrefix(v, notFinite), 64)
		if err != nil {
			b.fail("float_parsing", name, "Input should be a valid number, unable to parse string as a number", v)
		}
		return f
	default:
		b.fail("float_type", name, "Input should be a valid number", v)
		return otherwise
	}
}

func (b *body) whole(name string, otherwise int) int {
	switch v := b.m[name].(type) {
	case nil:
		return otherwise
	case json.Number:
		f, _ := v.Float64()
		if f != float64(int64(f)) {
			b.fail("int_from_float", name, "Input should be a valid integer, got a number with a fractional part", v)
		}
		return int(f)
	case bool:
		return map[bool]int{true: 1}[v]
	case string:
		n, err := strconv.Atoi(v)
		if err != nil {
			b.fail("int_parsing", name, "Input should be a valid integer, unable to parse string as an integer", v)
		}
		return n
	default:
		b.fail("int_type", name, "Input should be a valid integer", v)
		return otherwise
	}
}

func (b *body) truth(name string) bool {
	switch v := b.m[name].(type) {
	case nil:
		return false
	case bool:
		return v
	case json.Number:
		if v == "1" || v == "0" {
			return v == "1"
		}
		b.fail("bool_parsing", name, "Input should be a valid boolean, unable to interpret input", v)
	case string:
		switch strings.ToLower(v) {
		case "true", "t", "yes", "y", "on", "1":
			return true
		case "false", "f", "no", "n", "off", "0":
			return false
		}
		b.fail("bool_parsing", name, "Input should be a valid boolean, unable to interpret input", v)
	default:
		b.fail("bool_type", name, "Input should be a valid boolean", v)
	}
	return false
}

func (b *body) dict(name string) map[string]any {
	switch v := b.m[name].(type) {
	case nil:
		return nil
	case map[string]any:
		return v
	default:
		b.fail("dict_type", name, "Input should be a valid dictionary", v)
		return nil
	}
}

func (b *body) list(name string) []any {
	switch v := b.m[name].(type) {
	case nil:
		return nil
	case []any:
		return v
	default:
		b.fail("list_type", name, "Input should be a valid list", v)
		return nil
	}
}

// strings reads a string or a list of them.
func (b *body) strings(name string) []string {
	if s, ok := b.m[name].(string); ok {
		return []string{s}
	}
	var out []string
	for i, v := range b.list(name) {
		s, ok := v.(string)
		if !ok {
			b.fail("string_type", fmt.Sprintf("%s.%d", name, i), "Input should be a valid string", v)
		}
		out = append(out, s)
	}
	return out
}

func (b *body) wholes(name string) []int {
	var out []int
	for i, v := range b.list(name) {
		n, ok := asInt(v)
		if !ok {
			b.fail("int_type", fmt.Sprintf("%s.%d", name, i), "Input should be a valid integer", v)
		}
		out = append(out, n)
	}
	return out
}

func asInt(v any) (int, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := n.Int64()
	return int(i), err == nil
}

// fieldOrder is where a field stands in vLLM's request classes: mistakes are
// listed in that order.
func fieldOrder(loc string) int {
	order := [...]string{"messages", "prompt", "input", "model", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "max_tokens",
		"max_completion_tokens", "n", "presence_penalty", "response_format", "seed", "stop", "stream", "stream_options", "temperature", "top_p",
		"tools", "tool_choice"}
	name, _, _ := strings.Cut(strings.TrimPrefix(loc, "body."), ".")
	if i := slices.Index(order[:], name); i >= 0 {
		return i
	}
	return len(order)
}
