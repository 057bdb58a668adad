package engine

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/bench/router/http1"
	"github.com/nomad-vllm/nomad-vllm/bench/router/traffic"
)

func tag(t *testing.T, s string) traffic.Tag {
	got, err := traffic.ParseTag(s)
	require.NoError(t, err)
	return got
}

// pair is a prefill and a decode that share a ledger.
func pair(t *testing.T) (p, d *instance) {
	b := &bench{prefills: map[string]*instance{}}
	b.blocks, b.blockEnd = blockList(4096)
	p = &instance{role: prefill, id: "prefill-0", port: 1234, bench: b}
	b.prefills[p.id] = p
	return p, &instance{role: decode, id: "decode-0", bench: b}
}

// swap replaces one part and fails if there is none, so that no case tests nothing.
func swap(t *testing.T, s, old, with string) string {
	require.Contains(t, s, old)
	return strings.Replace(s, old, with, 1)
}

const ask = `,"kv_transfer_params":{"do_remote_decode":true,"do_remote_prefill":false}}`

func TestLeg1_mustAskForOneTokenAndAHandoff(t *testing.T) {
	p, _ := pair(t)
	client := string(traffic.Body(tag(t, "sse/200B/3")))
	good := swap(t, swap(t, client, `"max_tokens":100`, `"max_tokens":1`), `"stream":true`, `"stream":false`)
	good = good[:len(good)-1] + ask
	for name, c := range map[string]struct{ body, want string }{
		"good":             {good, ""},
		"spaced":           {swap(t, good, `"max_tokens":1`, ` "max_tokens" : 1 `), ""},
		"completion wins":  {swap(t, good, `"max_tokens":1`, `"max_tokens":50,"max_completion_tokens":1`), ""},
		"too many":         {swap(t, good, `"max_tokens":1`, `"max_tokens":2`), "asks for 2 tokens"},
		"completion loses": {swap(t, good, `"max_tokens":1`, `"max_tokens":1,"max_completion_tokens":9`), "asks for 9 tokens"},
		"streamed":         {swap(t, good, `"stream":false`, `"stream":true`), "streamed"},
		"options":          {swap(t, good, `"stream":false`, `"stream":false,"stream_options":{}`), "stream_options"},
		"minimum":          {swap(t, good, `"stream":false`, `"stream":false,"min_tokens":5`), "min_tokens"},
		"no params":        {swap(t, good, ask, "}"), "no kv_transfer_params"},
		"no remote":        {swap(t, good, `"do_remote_decode":true`, `"do_remote_decode":false`), "do_remote_decode"},
		"both":             {swap(t, good, `"do_remote_prefill":false`, `"do_remote_prefill":true`), "do_remote_decode alone"},
		"no tag":           {swap(t, good, `"user":"sse`, `"usr":"sse`), "user did not arrive"},
		"no JSON":          {good[:len(good)-1], "not a JSON object"},
		"other prompt":     {swap(t, good, "prompt 3", "prompt 4"), "not the client's"},
		"other model":      {swap(t, good, `"model":"bench"`, `"model":"other"`), "not the client's"},
	} {
		p.seen.Store(0) // the next body is decoded in full
		q, err := p.read([]byte(c.body))
		if err == nil {
			err = q.isLeg1()
		}
		if c.want == "" {
			require.NoError(t, err, name)
		} else {
			require.ErrorContains(t, err, c.want, name)
		}
	}
}

func TestLeg2_mustBeTheClientsWithParamsUsedOnce(t *testing.T) {
	p, d := pair(t)
	client := string(traffic.Body(tag(t, "json/16KiB/0")))
	params := func() string {
		var raw string
		require.NoError(t, http1.Members(p.handoff(nil, "my-id", 16<<10), func(k, v []byte) {
			if string(k) == "kv_transfer_params" {
				raw = string(v)
			}
		}))
		return raw
	}
	check := func(body string) error {
		q, err := d.read([]byte(body))
		if err != nil {
			return err
		}
		return d.isLeg2(q)
	}
	with := func(params string) string { return client[:len(client)-1] + `,"kv_transfer_params":` + params + "}" }
	once := params()
	require.Contains(t, once, `"remote_request_id":"chatcmpl-my-id-1`)
	require.NoError(t, check(with(once)))
	require.ErrorContains(t, check(with(once)), "unknown or used")
	require.ErrorContains(t, check(client), "no kv_transfer_params")
	for want, broken := range map[string]string{
		"want the client's 100": swap(t, with(params()), `"max_tokens":100`, `"max_tokens":1`),
		"stream is":             swap(t, with(params()), `"stream":false`, `"stream":true`),
		"do_remote_prefill":     with(swap(t, params(), `"do_remote_prefill":true`, `"do_remote_prefill":false`)),
		"which there is not":    with(swap(t, params(), "prefill-0", "prefill-9")),
		"names port 99":         with(swap(t, params(), "1234", "99")),
		"other blocks":          with(swap(t, params(), "[[1000,", "[[5,")),
		"unknown or used":       with(swap(t, params(), "my-id-1", "my-id-2")),
	} {
		err := check(broken)
		require.ErrorContains(t, err, want)
	}
	plainly := &instance{role: plain, bench: d.bench}
	q, err := plainly.read([]byte(client))
	require.NoError(t, err)
	require.NoError(t, plainly.isLeg2(q))
	q, err = plainly.read([]byte(with(params())))
	require.NoError(t, err)
	require.ErrorContains(t, plainly.isLeg2(q), "on a plain request")
}

func TestHandoff_listsMoreBlocksForLongerPrompts(t *testing.T) {
	p, _ := pair(t)
	short, long := len(p.handoff(nil, "x", 200)), len(p.handoff(nil, "x", 220<<10))
	require.Less(t, short, 600)
	require.Greater(t, long, 3520*5)
	require.InDelta(t, 200, len(reply), 10)
}
