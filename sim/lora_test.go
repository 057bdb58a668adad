package sim_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/sim"
)

const (
	loadPath   = "/v1/load_lora_adapter"
	unloadPath = "/v1/unload_lora_adapter"
)

var withSQL = []string{"--enable-lora", "--lora-modules", "sql=/adapters/sql", `{"name": "poet", "path": "/adapters/poet", "base_model_name": "b"}`}

// card is what a test looks at of an entry in the list of models.
type card struct {
	id, root string
	parent   any
}

func cards(t *testing.T, in *sim.Instance) (out []card) {
	t.Helper()
	for _, x := range get(t, in, "/v1/models").json(t)["data"].([]any) {
		m := x.(object)
		out = append(out, card{m["id"].(string), m["root"].(string), m["parent"]})
		require.Equal(t, m["parent"] == nil, m["max_model_len"] != nil, "adapters have no length of their own")
	}
	return out
}

func TestModels_listServedNamesAndAdapters(t *testing.T) {
	t.Parallel()
	in := start(t, sim.Options{Args: append([]string{"--served-model-name", "a", "b"}, withSQL...)})
	require.Equal(t, []card{{"a", "tiny", nil}, {"b", "tiny", nil}, {"sql", "/adapters/sql", "a"}, {"poet", "/adapters/poet", "b"}}, cards(t, in))
	for _, name := range []string{"a", "b", "sql", "poet"} {
		require.Equal(t, name, post(t, in, chatPath, chat("x", "model", name)).json(t)["model"])
	}
	require.Equal(t, http.StatusNotFound, post(t, in, chatPath, chat("x")).status, "the path is no served name")
}

func TestAdapters_writeAnotherTextFromKVOfTheirOwn(t *testing.T) {
	t.Parallel()
	in, other := start(t, sim.Options{Args: withSQL}), start(t, sim.Options{Args: withSQL})
	ask := func(in *sim.Instance, model string) string {
		return post(t, in, chatPath, chat("x", "model", model)).text(t)
	}
	base, sql, poet := ask(in, "tiny"), ask(in, "sql"), ask(in, "poet")
	require.NotEqual(t, base, sql)
	require.NotEqual(t, sql, poet)
	require.Equal(t, sql, ask(other, "sql"), "what the prefix cache holds of the base model is not used")
	require.Equal(t, sql, ask(in, "sql"))
}

func TestAdapters_handOverToThemselvesOnly(t *testing.T) {
	t.Parallel()
	prefill, decode := pair(t, withSQL...)
	alone := start(t, sim.Options{Args: withSQL})
	req := chat("x", "model", "sql")
	want := post(t, alone, chatPath, req).text(t)
	require.Equal(t, want, post(t, decode, chatPath, with(req, "kv_transfer_params", leg1(t, prefill, chatPath, req))).text(t))
	params := leg1(t, prefill, chatPath, with(req, "model", "tiny"))
	wrong := start(t, sim.Options{Role: pd.RoleDecode, Args: withSQL})
	require.NotEqual(t, want, post(t, wrong, chatPath, with(req, "kv_transfer_params", params)).text(t), "vLLM would not notice")
}

func TestAdapters_loadedAtRunTime(t *testing.T) {
	t.Parallel()
	in := start(t, sim.Options{Args: []string{"--enable-lora"}, RuntimeLoRA: true})
	sql := object{"lora_name": "sql", "lora_path": "/adapters/sql"}
	require.Equal(t, http.StatusNotFound, post(t, in, chatPath, chat("x", "model", "sql")).status)
	loaded := post(t, in, loadPath, sql)
	require.Equal(t, http.StatusOK, loaded.status)
	require.Equal(t, "Success: LoRA adapter 'sql' added successfully.", string(loaded.body))
	require.Equal(t, []card{{"tiny", "tiny", nil}, {"sql", "/adapters/sql", "tiny"}}, cards(t, in))
	post(t, in, chatPath, chat("x", "model", "sql")).text(t)
	require.Contains(t, string(post(t, in, loadPath, sql).body), "has already been loaded")
	require.Equal(t, http.StatusOK, post(t, in, loadPath, with(sql, "load_inplace", true, "lora_path", "/v2")).status)
	require.Equal(t, card{"sql", "/v2", "tiny"}, cards(t, in)[1])

	require.Equal(t, http.StatusOK, post(t, in, unloadPath, without(sql, "lora_path")).status)
	require.Equal(t, "NotFoundError", post(t, in, unloadPath, sql).json(t)["error"].(object)["type"])
	require.Equal(t, http.StatusNotFound, post(t, in, chatPath, chat("x", "model", "sql")).status)
	require.Len(t, cards(t, in), 1)
}

func TestAdapters_whatLoadingRefuses(t *testing.T) {
	t.Parallel()
	in := start(t, sim.Options{RuntimeLoRA: true})
	for says, req := range map[string]object{
		"'body.lora_path'":    {"lora_name": "sql"},
		"must be provided":    {"lora_name": "sql", "lora_path": ""},
		"LoRA is not enabled": {"lora_name": "sql", "lora_path": "/adapters/sql"},
	} {
		got := post(t, in, loadPath, req)
		require.Equal(t, http.StatusBadRequest, got.status)
		require.Contains(t, string(got.body), says)
	}
	closed := start(t, sim.Options{Args: []string{"--enable-lora"}})
	require.Equal(t, http.StatusNotFound, post(t, closed, loadPath, object{"lora_name": "a", "lora_path": "b"}).status, "not without the variable")
}
