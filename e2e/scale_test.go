//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

// prefillScales loads the prefill servers with long prompts of one output
// token each until the autoscaler adds one, and looks whether decode stayed.
func prefillScales(t *testing.T, s *suite) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	require.Equal(t, 2, s.count(t, "prefill"))
	loadCtx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	var urls []string
	var served atomic.Int64
	for _, i := range s.instances(t) {
		if i.Role == pd.RolePrefill {
			urls = append(urls, i.URL)
		}
	}
	for c := range 96 {
		wg.Go(func() {
			for n := 0; loadCtx.Err() == nil; n++ {
				if leg1(loadCtx, urls[c%len(urls)], longPrompt(fmt.Sprintf("load%dx%d", c, n), 4000)) == http.StatusOK {
					served.Add(1)
				}
			}
		})
	}
	eventually(t, 90*time.Second, "prefill grows", func() bool { return s.count(t, "prefill") > 2 })
	stop()
	wg.Wait()
	require.Positive(t, served.Load(), "the load was real")
	require.Equal(t, 6, s.count(t, "decode"), "decode is left alone")
	t.Logf("prefill grew to %d, decode stayed at %d", s.count(t, "prefill"), s.count(t, "decode"))
	eventually(t, 60*time.Second, "the new prefill is healthy", func() bool {
		return s.usable(t)[pd.RolePrefill] == s.count(t, "prefill")
	})
}

// leg1 asks a prefill directly, as a router does, and returns the status; 0 is no answer.
func leg1(ctx context.Context, url, prompt string) int {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/chat/completions", strings.NewReader(chat(prompt, 1, "")))
	if err != nil {
		return 0
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	closeBody(resp.Body)
	return resp.StatusCode
}
