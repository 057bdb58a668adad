package router

import (
	"strconv"
	"strings"
	"time"
)

// writeLine writes the request's one line of log.
func (t *trip) writeLine(took time.Duration) {
	if !t.s.logger.IsInfo() {
		return
	}
	if t.s.cfg.LogFields {
		t.s.logger.Info("request", t.fields(took)...)
		return
	}
	// In the form that hclog gives to fields. Its own formatting takes more of
	// the router's time than choosing and checking together.
	b := append(t.line[:0], "request:"...)
	b = appendText(b, "request_id", t.req.id)
	b = appendText(b, "endpoint", string(t.req.endpoint))
	b = appendText(b, "model", clip(t.req.model))
	b = appendInt(b, "status", int64(t.out.code))
	b = appendText(b, "path", string(t.out.path))
	b = appendText(b, "reason", string(t.out.reason))
	b = appendText(b, "prefill", t.out.prefill)
	b = appendText(b, "decode", t.out.decode)
	b = appendTime(b, "prefill_ms", t.out.prefillTook)
	b = appendTime(b, "decode_ms", t.out.decodeTook)
	b = appendTime(b, "first_token_ms", t.out.firstToken)
	b = appendTime(b, "total_ms", took)
	b = appendTime(b, "queued_ms", t.out.queued)
	b = appendInt(b, "attempts", int64(t.out.attempts))
	b = appendInt(b, "prefill_tries", int64(t.out.prefillTries))
	b = appendInt(b, "bytes", t.out.bytes)
	if t.out.key != "" {
		b = appendText(b, "key", t.out.key)
	}
	if t.out.failure != "" {
		b = appendText(b, "failure", t.out.failure)
	}
	t.line = b
	t.s.logger.Info(string(b))
}

// fields are the line's for a log whose form needs them apart.
func (t *trip) fields(took time.Duration) []any {
	kv := []any{
		"request_id", t.req.id, "endpoint", t.req.endpoint, "model", clip(t.req.model), "status", t.out.code,
		"path", t.out.path, "reason", t.out.reason, "prefill", t.out.prefill, "decode", t.out.decode,
		"prefill_ms", milliseconds(t.out.prefillTook), "decode_ms", milliseconds(t.out.decodeTook),
		"first_token_ms", milliseconds(t.out.firstToken), "total_ms", milliseconds(took),
		"queued_ms", milliseconds(t.out.queued), "attempts", t.out.attempts, "prefill_tries", t.out.prefillTries, "bytes", t.out.bytes,
	}
	if t.out.key != "" {
		kv = append(kv, "key", t.out.key)
	}
	if t.out.failure != "" {
		kv = append(kv, "failure", t.out.failure)
	}
	return kv
}

// appendText writes one field. A value that could be taken for more than one,
// or end the line, is quoted.
func appendText(b []byte, key, value string) []byte {
	b = appendKey(b, key)
	if value == "" || strings.ContainsFunc(value, func(r rune) bool { return r <= ' ' || r == '"' || r == '=' || r > '~' }) {
		return strconv.AppendQuote(b, value)
	}
	return append(b, value...)
}

func appendInt(b []byte, key string, value int64) []byte {
	return strconv.AppendInt(appendKey(b, key), value, 10)
}

func appendTime(b []byte, key string, d time.Duration) []byte {
	return strconv.AppendFloat(appendKey(b, key), milliseconds(d), 'f', -1, 64)
}

func appendKey(b []byte, key string) []byte {
	return append(append(append(b, ' '), key...), '=')
}
