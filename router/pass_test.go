package router

import (
	"bytes"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

func TestPass_goesToAnInstanceAsItIs(t *testing.T) {
	p, d := startSim(t, pd.RolePrefill, ""), startSim(t, pd.RoleDecode, "")
	r := newRig(t, inst("p", p.URL(), pd.RolePrefill), inst("gone", refused(t), pd.RoleDecode), inst("d", d.URL(), pd.RoleDecode))
	for range 4 { // the one that cannot be connected to is passed over
		got := r.post("/tokenize", `{"model":"m","prompt":"one fish two fish","kv_transfer_params":{"do_remote_prefill":true}}`)
		got.served(t, pd.PathLocal, pd.ReasonNotGenerative)
		require.Equal(t, "d", got.Header.Get(pd.HeaderDecode))
		require.Contains(t, got.body, `"tokens":[`)
	}
	count := r.post(messagesPath+"/count_tokens", `{"model":"m","messages":[{"role":"user","content":"hello"}]}`)
	count.served(t, pd.PathLocal, pd.ReasonNotGenerative)
	require.Equal(t, http.StatusNotFound, r.post("/v1/embeddings", `{"model":"m","input":"x"}`).StatusCode, "it generates only, and says so")
	require.Equal(t, http.StatusMethodNotAllowed, r.get("/tokenize").StatusCode)
	r.post("/rerank", `{"model":"another"}`).apiError(t, http.StatusNotFound)
	alive(t, p, d)
}

// recorder is an instance that keeps what clients' requests it gets.
func recorder(t *testing.T) (url string, asked *atomic.Int64, last *atomic.Pointer[http.Request], body *atomic.Pointer[[]byte]) {
	asked, last, body = new(atomic.Int64), new(atomic.Pointer[http.Request]), new(atomic.Pointer[[]byte])
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/models" {
			http.NotFound(w, r)
			return
		}
		b, _ := io.ReadAll(r.Body)
		asked.Add(1)
		last.Store(r)
		body.Store(&b)
		_, _ = io.WriteString(w, "WEBVTT")
	}))
	t.Cleanup(s.Close)
	return s.URL, asked, last, body
}

func TestPass_nothingThatChangesAnInstanceIsReached(t *testing.T) {
	url, asked, _, _ := recorder(t)
	r := newRig(t, inst("d", url, pd.RoleDecode))
	for _, path := range []string{
		"/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/sleep", "/wake_up", "/collective_rpc", "/scale_elastic_ep", "/pause", "/resume",
		"/reset_prefix_cache", "/abort_requests", "/inference/v1/generate", "/invocations", "/start_profile", "/update_weights", "/fault_tolerance/apply",
		"/server_info", "/tokenize/", "/v1/audio/transcriptions/x", "/v1/../sleep", "/tokenizer_info", "/v1/chat/completions/batch", "/cohere/v2/chat",
	} {
		require.Equal(t, http.StatusNotFound, r.post(path, `{"model":"m"}`).StatusCode, path)
	}
	require.Zero(t, asked.Load())
}

func audio(t *testing.T, fields ...string) (body, contentType string) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(fields); i += 2 {
		require.NoError(t, w.WriteField(fields[i], fields[i+1]))
	}
	part, err := w.CreateFormFile("file", `a"b.wav`)
	require.NoError(t, err)
	_, _ = part.Write([]byte("RIFF\x00\r\n--not a boundary\r\n"))
	require.NoError(t, w.Close())
	return b.String(), w.FormDataContentType()
}

func TestPass_aFormIsWrittenAnew(t *testing.T) {
	url, asked, last, sent := recorder(t)
	r := newRig(t, inst("d", url, pd.RoleDecode))
	body, kind := audio(t, "model", "m", "timestamp_granularities[]", "word")
	got := r.post(string(transcriptions), body, "Content-Type", kind)
	got.served(t, pd.PathLocal, pd.ReasonNotGenerative)
	require.Equal(t, "WEBVTT", got.body, "no JSON, and the answer all the same")
	require.NotEqual(t, kind, last.Load().Header.Get("Content-Type"))
	again := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(*sent.Load()))
	again.Header.Set("Content-Type", last.Load().Header.Get("Content-Type"))
	require.NoError(t, again.ParseMultipartForm(1<<20))
	require.Equal(t, []string{"word"}, again.MultipartForm.Value["timestamp_granularities[]"])
	file, err := again.MultipartForm.File["file"][0].Open()
	require.NoError(t, err)
	content, err := io.ReadAll(file)
	require.NoError(t, err)
	require.Equal(t, "RIFF\x00\r\n--not a boundary\r\n", string(content))

	asked.Store(0)
	for _, name := range []string{"vllm_xargs", "kv_transfer_params", "VLLM_XARGS[x]", `vllm\_xargs`, "model\r\nx"} {
		body, kind := audio(t, "model", "m", name, `{"kv_transfer_params":{"do_remote_prefill":true}}`)
		r.post(string(transcriptions), body, "Content-Type", kind).apiError(t, http.StatusBadRequest)
	}
	r.post(string(transcriptions), `{}`).apiError(t, http.StatusBadRequest)
	r.post(string(transcriptions), strings.Repeat("x", 100), "Content-Type", kind).apiError(t, http.StatusBadRequest)
	require.Zero(t, asked.Load())
	body, kind = audio(t, "model", "another")
	r.post(string(transcriptions), body, "Content-Type", kind).apiError(t, http.StatusNotFound)
}
