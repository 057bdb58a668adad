package sim_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/sim"
)

func TestHandoff_textEqualsAnAggregatedRun(t *testing.T) {
	t.Parallel()
	prefill, decode := pair(t)
	for name, c := range map[string]struct {
		path string
		req  object
	}{
		"chat":              {chatPath, chat("a")},
		"chat stream":       {chatPath, chat("b", "stream", true)},
		"completion":        {completionPath, completion("c")},
		"completion stream": {completionPath, completion("d", "stream", true)},
		"seed":              {chatPath, chat("e", "seed", 7, "temperature", 0.7)},
	} {
		t.Run(name, func(t *testing.T) {
			params := leg1(t, prefill, c.path, c.req)
			got := post(t, decode, c.path, with(c.req, "kv_transfer_params", params)).text(t)
			require.Equal(t, aggregated(t, c.path, c.req), got)
			require.NotEmpty(t, got)
		})
	}
	eventually(t, func() bool { return prefill.Stats().Leases == 0 && prefill.Stats().UsedBlocks == 0 }, "what was read is freed")
	require.Equal(t, 5.0, metric(t, decode, "vllm:nixl_bytes_transferred_count", ""))
	require.Positive(t, metric(t, decode, "vllm:nixl_bytes_transferred_sum", ""))
	require.Positive(t, metric(t, decode, "vllm:external_prefix_cache_hits_total", ""))
	require.Zero(t, metric(t, decode, "vllm:prompt_tokens_by_source_total", `source="local_compute"`))
}

func TestHandoff_usesWhatTheBlocksHold(t *testing.T) {
	t.Parallel()
	// A small cache, so that the prefill soon reuses blocks.
	prefill := start(t, sim.Options{Role: pd.RolePrefill, Args: []string{"--num-gpu-blocks-override=40", "--max-model-len=512"}})
	decode := start(t, sim.Options{Role: pd.RoleDecode})
	first, second := chat("one"), chat("two")
	params := leg1(t, prefill, chatPath, first)
	again := func(req object, salt string) string {
		return post(t, decode, chatPath, with(req, "kv_transfer_params", params, "cache_salt", salt)).text(t)
	}
	right := aggregated(t, chatPath, first)
	require.Equal(t, right, again(first, "a"))
	require.Equal(t, right, again(first, "b"), "used a second time, nobody has written there yet")
	require.Equal(t, right, again(second, "c"), "another prompt gets the first one's answer")
	require.NotEqual(t, right, aggregated(t, chatPath, second))

	for _, name := range []string{"xx1", "xx2", "xx3", "xx4", "xx5"} {
		post(t, prefill, chatPath, chat(name, "max_tokens", 1)).text(t)
	}
	require.NotEqual(t, right, again(first, "d"), "the blocks hold other prompts now")
	require.Positive(t, metric(t, prefill, "vllm:nixl_num_notifications_after_expiry_total", ""))
}

func TestHandoff_shorterPromptGetsWrongKV(t *testing.T) {
	t.Parallel()
	prefill, decode := pair(t)
	params := leg1(t, prefill, chatPath, chat("long"))
	short := object{"model": "tiny", "messages": []object{{"role": "user", "content": "a much shorter prompt than that"}}, "max_tokens": 12}
	got := post(t, decode, chatPath, with(short, "kv_transfer_params", params)).text(t)
	require.NotEqual(t, aggregated(t, chatPath, short), got)
}

func TestHandoff_toleratesWhatVLLMTolerates(t *testing.T) {
	t.Parallel()
	prefill, decode := pair(t)
	for name, edit := range map[string]func(object) object{
		"no tp_size":             func(p object) object { return without(p, "tp_size") },
		"another request id":     func(p object) object { return with(p, "remote_request_id", "chatcmpl-no") },
		"a wrong port, once met": func(p object) object { return with(p, "remote_port", 9) },
		"an unknown key":         func(p object) object { return with(p, "x", 1) },
	} {
		t.Run(name, func(t *testing.T) {
			req := chat(name)
			leg1(t, prefill, chatPath, chat("met first"))
			first := leg1(t, prefill, chatPath, chat("met"+name))
			post(t, decode, chatPath, chat("met"+name, "kv_transfer_params", first)).text(t)
			params := edit(leg1(t, prefill, chatPath, req))
			require.Equal(t, aggregated(t, chatPath, req), post(t, decode, chatPath, with(req, "kv_transfer_params", params)).text(t))
		})
	}
}

func TestHandoff_failsAtOnce(t *testing.T) {
	t.Parallel()
	prefill, decode := pair(t)
	for name, edit := range map[string]object{
		"wrong engine id":   {"remote_engine_id": "10a5dc32-7ea5-4d36-9d4c-4ce5fca5a3d5"},
		"blocks out of use": {"remote_block_ids": [][]int{{999999, 999999, 999999, 999999, 999999, 999999, 999999, 999999, 999999, 999999, 999999, 999999, 999999, 999999, 999999, 999999, 999999, 999999, 999999, 999999}}},
	} {
		t.Run(name, func(t *testing.T) {
			params := leg1(t, prefill, chatPath, chat(name))
			for k, v := range edit {
				params[k] = v
			}
			a := post(t, decode, chatPath, chat(name, "kv_transfer_params", params))
			require.Equal(t, http.StatusInternalServerError, a.status)
			require.Equal(t, "Internal server error", a.json(t)["error"].(object)["message"])
			require.Less(t, a.took, time.Second)
		})
	}
	require.Equal(t, http.StatusOK, get(t, decode, "/health").status, "the decode lives")
	require.Equal(t, 2.0, metric(t, decode, "vllm:nixl_num_failed_transfers_total", ""))
	require.Equal(t, 2.0, metric(t, decode, "vllm:request_success_total", `finished_reason="error"`))
	require.Zero(t, decode.Stats().UsedBlocks)
}

func TestHandoff_failedLoadOfAStream(t *testing.T) {
	t.Parallel()
	prefill := start(t, sim.Options{Role: pd.RolePrefill})
	decode := start(t, sim.Options{Role: pd.RoleDecode})
	older := start(t, sim.Options{Role: pd.RoleDecode, Version: "0.26.0"})
	stranger := func(path string, req object) object {
		return with(req, "stream", true, "kv_transfer_params", with(leg1(t, prefill, path, req), "remote_engine_id", "another"))
	}
	kinds := func(in *sim.Instance, path string, req object) []string {
		var out []string
		for _, k := range eventKinds(post(t, in, path, stranger(path, req)).body) {
			out = append(out, k[:4])
		}
		return out
	}
	require.Len(t, kinds(decode, chatPath, chat("x")), 3)
	require.Equal(t, []string{"erro", "done"}, kinds(decode, chatPath, chat("x"))[1:], "after the role")
	require.Equal(t, []string{"erro", "done"}, kinds(decode, completionPath, completion("y")))
	require.Equal(t, []string{"done"}, kinds(older, completionPath, completion("z")), "0.26 says nothing")
	require.Equal(t, []string{"usag", "done"}, kinds(older, completionPath, completion("z", "stream_options", object{"include_usage": true})))
}

func TestHandoff_recomputePolicyComputesLocally(t *testing.T) {
	t.Parallel()
	prefill := start(t, sim.Options{Role: pd.RolePrefill})
	decode := start(t, sim.Options{Args: []string{
		"--kv-transfer-config", `{"kv_connector":"NixlConnector","kv_role":"kv_consumer","kv_load_failure_policy":"recompute"}`,
	}})
	req := chat("x")
	params := with(leg1(t, prefill, chatPath, req), "remote_engine_id", "another")
	require.Equal(t, aggregated(t, chatPath, req), post(t, decode, chatPath, with(req, "kv_transfer_params", params)).text(t))
}

func TestHandoff_survivesTheDeathOfAPrefill(t *testing.T) {
	t.Parallel()
	prefill, decode := pair(t)
	warm := chat("warm")
	post(t, decode, chatPath, with(warm, "kv_transfer_params", leg1(t, prefill, chatPath, warm))).text(t)
	req := chat("unread")
	params := leg1(t, prefill, chatPath, req)
	prefill.Kill()
	a := post(t, decode, chatPath, with(req, "kv_transfer_params", params))
	require.Equal(t, http.StatusInternalServerError, a.status)
	require.Less(t, a.took, time.Second, "the prefill was known, so its death is seen at once")

	next := start(t, sim.Options{Role: pd.RolePrefill})
	require.NotEqual(t, prefill.EngineID(), next.EngineID())
	params = leg1(t, next, chatPath, req)
	require.Equal(t, aggregated(t, chatPath, req), post(t, decode, chatPath, with(req, "kv_transfer_params", params)).text(t))
}

func TestHandoff_lethalParamsEndTheProcess(t *testing.T) {
	t.Parallel()
	prefill := start(t, sim.Options{Role: pd.RolePrefill})
	params := func(name string) object { return leg1(t, prefill, chatPath, chat(name)) }
	flat := params("flat")
	flat["remote_block_ids"] = flat["remote_block_ids"].([]any)[0]
	few := params("few")
	few["remote_block_ids"] = [][]int{{1}}
	for name, p := range map[string]object{
		"both true":              with(ask, "do_remote_prefill", true),
		"flat":                   flat,
		"few":                    few,
		"only do_remote_prefill": {"do_remote_prefill": true},
		"no blocks":              with(params("no blocks"), "remote_block_ids", nil),
	} {
		t.Run(name, func(t *testing.T) {
			decode := start(t, sim.Options{Role: pd.RoleDecode})
			bystander := make(chan answer, 1)
			go func() {
				bystander <- post(t, decode, chatPath, chat("bystander", "max_tokens", 2000, "ignore_eos", true))
			}()
			eventually(t, func() bool { return decode.Stats().Running == 1 }, "the bystander runs")
			a := post(t, decode, chatPath, chat(name, "kv_transfer_params", p))
			require.Equal(t, http.StatusInternalServerError, a.status)
			require.Contains(t, a.json(t)["error"].(object)["message"], "EngineCore encountered an issue")
			require.Equal(t, http.StatusServiceUnavailable, get(t, decode, "/health").status)
			require.Equal(t, http.StatusInternalServerError, (<-bystander).status)
			eventually(t, func() bool { return ended(decode) }, "the process ends")
			require.Zero(t, decode.ExitCode())
		})
	}
}

func TestHandoff_missingKeyHangsUntilTheClientLeavesAndThenKills(t *testing.T) {
	t.Parallel()
	prefill := start(t, sim.Options{Role: pd.RolePrefill})
	for _, key := range []string{"remote_engine_id", "remote_request_id"} {
		t.Run(key, func(t *testing.T) {
			decode := start(t, sim.Options{Role: pd.RoleDecode})
			req := chat(key)
			params := without(leg1(t, prefill, chatPath, req), key)
			ctx, leave := context.WithCancel(t.Context())
			left := make(chan error, 1)
			go func() {
				resp, err := request(ctx, decode, http.MethodPost, chatPath, with(req, "kv_transfer_params", params))
				if err == nil {
					resp.Body.Close()
				}
				left <- err
			}()
			eventually(t, func() bool { return decode.Stats().Deferred == 1 }, "the request waits")
			require.Equal(t, 1.0, metric(t, decode, "vllm:num_requests_waiting_by_reason", `reason="deferred"`))
			require.NotEmpty(t, post(t, decode, chatPath, chat("other")).text(t), "others are served meanwhile")
			leave()
			require.Error(t, <-left)
			eventually(t, func() bool { return ended(decode) }, "the process ends")
		})
	}
}

func TestHandoff_withoutConnectorIsSilentlyLost(t *testing.T) {
	t.Parallel()
	in := start(t, sim.Options{})
	a := post(t, in, chatPath, chat("x", "max_tokens", 1, "kv_transfer_params", ask))
	require.NotEmpty(t, a.text(t))
	require.Nil(t, a.json(t)["kv_transfer_params"])
	require.NotEmpty(t, post(t, in, chatPath, chat("x", "kv_transfer_params", object{"do_remote_prefill": true})).text(t))
}

func TestPrefill_freesBlocksOfRequestsThatNobodyWillRead(t *testing.T) {
	t.Parallel()
	prefill, decode := pair(t)
	t.Run("refused by the decode", func(t *testing.T) {
		params := leg1(t, prefill, chatPath, chat("x"))
		require.Equal(t, 1, prefill.Stats().Leases)
		require.Equal(t, http.StatusNotFound, post(t, decode, chatPath, chat("x", "model", "nope", "kv_transfer_params", params)).status)
		eventually(t, func() bool { return prefill.Stats().Leases == 0 }, "the decode told the prefill")
	})
	t.Run("first leg aborted", func(t *testing.T) {
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() {
			resp, err := request(ctx, prefill, http.MethodPost, chatPath, chat("y", "max_tokens", 2000, "ignore_eos", true, "kv_transfer_params", ask))
			if err == nil {
				resp.Body.Close()
			}
			left <- err
		}()
		eventually(t, func() bool { return prefill.Stats().Running == 1 }, "it runs")
		leave()
		<-left
		eventually(t, func() bool { return prefill.Stats().UsedBlocks == 0 }, "its blocks are free")
		require.Zero(t, prefill.Stats().Leases)
		require.Zero(t, metric(t, prefill, "vllm:request_success_total", `finished_reason="abort"`), "vLLM forgets whom nobody waits for")
	})
	t.Run("lease expired", func(t *testing.T) {
		short := start(t, sim.Options{Args: []string{"--kv-transfer-config",
			`{"kv_connector":"NixlConnector","kv_role":"kv_producer","kv_connector_extra_config":{"kv_lease_duration":0.05}}`}})
		req := chat("z")
		params := leg1(t, short, chatPath, req)
		eventually(t, func() bool { return short.Stats().Leases == 0 }, "the lease ends")
		require.Equal(t, 1.0, metric(t, short, "vllm:nixl_num_kv_expired_reqs_total", ""))
		require.Equal(t, aggregated(t, chatPath, req), post(t, decode, chatPath, with(req, "kv_transfer_params", params)).text(t),
			"late, and not refused; the blocks still hold it")
	})
}

func TestPrefill_ofSeveralChoicesHandsOverOnlyTheLast(t *testing.T) {
	t.Parallel()
	prefill, decode := pair(t)
	req := chat("x", "n", 2, "temperature", 1)
	params := leg1(t, prefill, chatPath, req)
	require.Regexp(t, "^1_chatcmpl-", params["remote_request_id"])
	a := post(t, decode, chatPath, with(req, "kv_transfer_params", params))
	require.Equal(t, aggregated(t, chatPath, req), a.text(t))
	require.Len(t, a.json(t)["choices"], 2)
	require.Equal(t, 1, prefill.Stats().Leases, "the first choice's blocks are kept until their lease ends")
}

func TestPrefill_ofSeveralPromptsHandsOverOnlyTheFirst(t *testing.T) {
	t.Parallel()
	prefill, decode := pair(t)
	one, two := completion("one")["prompt"], completion("two")["prompt"]
	req := completion("", "prompt", []any{one, two})
	params := leg1(t, prefill, completionPath, req)
	got := post(t, decode, completionPath, with(req, "kv_transfer_params", params)).json(t)["choices"].([]any)
	text := func(i int) any { return got[i].(object)["text"] }
	require.Equal(t, aggregated(t, completionPath, completion("one")), text(0))
	require.Equal(t, text(0), text(1), "the second prompt gets the first one's answer")
}
