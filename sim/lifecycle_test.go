package sim_test

import (
	"bufio"
	"bytes"
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/sim"
)

// stream opens a stream of n tokens and returns when its first event is there;
// the rest comes through the channel.
func stream(t *testing.T, in *sim.Instance, n int) <-chan answer {
	t.Helper()
	resp, err := request(t.Context(), in, http.MethodPost, chatPath, chat("s", "stream", true, "max_tokens", n, "ignore_eos", true))
	require.NoError(t, err)
	r := bufio.NewReader(resp.Body)
	_, err = r.ReadString('\n')
	require.NoError(t, err)
	out := make(chan answer, 1)
	go func() {
		defer resp.Body.Close()
		var b bytes.Buffer
		_, _ = b.ReadFrom(r) // a cut stream is an answer too
		out <- answer{status: resp.StatusCode, body: b.Bytes(), header: resp.Header}
	}()
	return out
}

func refused(in *sim.Instance) bool {
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(in.URL(), "http://"), time.Second)
	if err != nil {
		return true
	}
	conn.Close()
	return false
}

func shutdown(t *testing.T, in *sim.Instance) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		in.Shutdown(t.Context())
	}()
	return done
}

func TestShutdown_withoutTimeoutAborts(t *testing.T) {
	t.Parallel()
	in := start(t, sim.Options{})
	s := stream(t, in, 2000)
	whole := make(chan answer, 1)
	go func() { whole <- post(t, in, chatPath, chat("w", "max_tokens", 2000, "ignore_eos", true)) }()
	eventually(t, func() bool { return in.Stats().Running == 2 }, "both run")
	done := shutdown(t, in)
	require.Equal(t, http.StatusInternalServerError, (<-whole).status)
	events := (<-s).events()
	require.Contains(t, events[len(events)-2], "EngineCore encountered an issue")
	require.Equal(t, "[DONE]", events[len(events)-1])
	<-done
	require.True(t, refused(in))
	require.True(t, ended(in))
	require.Zero(t, in.ExitCode())
}

func TestShutdown_drains(t *testing.T) {
	t.Parallel()
	for version, listens := range map[string]bool{"0.32.0": true, "0.26.0": false} {
		t.Run(version, func(t *testing.T) {
			in := start(t, sim.Options{Version: version, Args: []string{"--shutdown-timeout=30"}})
			s := stream(t, in, 200)
			done := shutdown(t, in)
			if listens {
				eventually(t, func() bool {
					return post(t, in, chatPath, chat("late", "max_tokens", 1)).status == http.StatusInternalServerError
				}, "new requests are refused")
				require.Equal(t, http.StatusOK, get(t, in, "/health").status)
			} else {
				eventually(t, func() bool { return refused(in) }, "it does not listen any more")
			}
			a := <-s
			require.Equal(t, "[DONE]", a.events()[len(a.events())-1])
			require.NotContains(t, string(a.body), `"error"`)
			<-done
			require.True(t, refused(in))
		})
	}
}

func TestShutdown_waitsForLeases(t *testing.T) {
	t.Parallel()
	prefill, decode := pair(t, "--shutdown-timeout=30")
	req := chat("leased")
	params := leg1(t, prefill, chatPath, req)
	done := shutdown(t, prefill)
	require.NotEmpty(t, post(t, decode, chatPath, with(req, "kv_transfer_params", params)).text(t))
	<-done
	require.Zero(t, metric(t, decode, "vllm:nixl_num_failed_transfers_total", ""))
}

func TestShutdown_overrunLeavesClientsInSilence(t *testing.T) {
	t.Parallel()
	in := start(t, sim.Options{Args: []string{"--shutdown-timeout=0.05"}})
	ctx, leave := context.WithCancel(t.Context())
	resp, err := request(ctx, in, http.MethodPost, chatPath, chat("s", "stream", true, "max_tokens", 2000, "ignore_eos", true))
	require.NoError(t, err)
	defer resp.Body.Close()
	done := shutdown(t, in)
	eventually(t, func() bool { return refused(in) }, "the listener closes when the time is over")
	require.Zero(t, in.Stats().Running)
	select {
	case <-done:
		t.Fatal("ended while a client was waiting")
	default:
	}
	leave()
	<-done
}

func TestClientDisconnect_freesAtOnce(t *testing.T) {
	t.Parallel()
	in := start(t, sim.Options{})
	ctx, leave := context.WithCancel(t.Context())
	resp, err := request(ctx, in, http.MethodPost, chatPath, chat("s", "stream", true, "max_tokens", 2000, "ignore_eos", true))
	require.NoError(t, err)
	defer resp.Body.Close()
	eventually(t, func() bool { return in.Stats().Running == 1 }, "it runs")
	leave()
	eventually(t, func() bool { return in.Stats().UsedBlocks == 0 }, "the blocks are free")
	require.Zero(t, metric(t, in, "vllm:request_success_total", `finished_reason="abort"`), "vLLM forgets whom nobody waits for")
}

func TestFaults_strikeTheNthRequest(t *testing.T) {
	t.Parallel()
	in := start(t, sim.Options{Faults: "500@1;503@2;slow@3=30ms;cut@4=3", Admin: true})
	require.Equal(t, 500, post(t, in, chatPath, chat("1")).status)
	require.Equal(t, 503, post(t, in, chatPath, chat("2")).status)
	require.GreaterOrEqual(t, post(t, in, chatPath, chat("3")).took, 30*time.Millisecond)
	a := <-stream(t, in, 50)
	require.NotContains(t, string(a.body), "[DONE]", "cut")
	require.Equal(t, 200, post(t, in, chatPath, chat("5")).status)

	req, err := http.NewRequest(http.MethodPut, in.URL()+"/sim/faults", strings.NewReader("418@*/completions"))
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "418@*/completions", string(get(t, in, "/sim/faults").body))
	require.Equal(t, 418, post(t, in, completionPath, completion("6")).status)
	require.Equal(t, 200, post(t, in, chatPath, chat("7")).status)

	require.NoError(t, in.SetFaults("engine@1"))
	require.Equal(t, 500, post(t, in, chatPath, chat("8")).status)
	eventually(t, func() bool { return ended(in) }, "the process ends")
	require.Zero(t, in.ExitCode())
}

func TestFaults_dieEndsTheProcessWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	in := start(t, sim.Options{Faults: "die@1"})
	_, err := request(t.Context(), in, http.MethodPost, chatPath, chat("x"))
	require.Error(t, err)
	eventually(t, func() bool { return ended(in) }, "the process ends")
	require.Equal(t, 1, in.ExitCode())
}

func TestAdmin_isClosedByDefault(t *testing.T) {
	t.Parallel()
	require.Equal(t, http.StatusNotFound, get(t, start(t, sim.Options{}), "/sim/faults").status)
}

func TestStart_refusesATakenPort(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	_, err = sim.Start(t.Context(), sim.Options{Args: []string{"--port", strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)}})
	require.ErrorContains(t, err, "address already in use")
}

func TestSeed_sameBytes(t *testing.T) {
	t.Parallel()
	args := []string{"--kv-transfer-config", `{"kv_connector":"NixlConnector","kv_role":"kv_both","engine_id":"fixed"}`}
	var texts []string
	for range 2 {
		in := start(t, sim.Options{Args: args})
		a := post(t, in, chatPath, chat("x")).json(t)
		texts = append(texts, a["id"].(string)+choiceText(a))
	}
	require.Equal(t, texts[0], texts[1])
}

// logBuffer is a log that the test reads while it is written.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestLog_showsVLLMsPhases(t *testing.T) {
	t.Parallel()
	var log logBuffer
	start(t, sim.Options{Role: pd.RoleDecode, Log: &log})
	text := log.String()
	for _, phase := range []string{"Starting to load model", "Loading safetensors checkpoint shards:  50% Completed | 2/4", "Model loading took",
		"GPU KV cache size: 262,144 tokens", "Maximum concurrency for", "Starting vLLM server on", "Application startup complete."} {
		require.Contains(t, text, phase)
		_, text, _ = strings.Cut(text, phase)
	}
}
