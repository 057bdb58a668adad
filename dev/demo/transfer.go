package demo

import (
	"context"
	"fmt"
	"net/http"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Transfers is what a decode's own metrics say about the KV caches that it has
// read from prefills since it started.
type Transfers struct {
	Count        float64
	Bytes        float64
	Seconds      float64
	PromptTokens float64 // that came from the KV of a prefill, not computed here
}

// Sub is what happened between an earlier reading and this one.
func (t Transfers) Sub(earlier Transfers) Transfers {
	return Transfers{t.Count - earlier.Count, t.Bytes - earlier.Bytes, t.Seconds - earlier.Seconds, t.PromptTokens - earlier.PromptTokens}
}

// ReadTransfers scrapes the decode at the URL.
func ReadTransfers(ctx context.Context, url string) (Transfers, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/metrics", nil)
	if err != nil {
		return Transfers{}, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return Transfers{}, fmt.Errorf("read metrics: %w", err)
	}
	defer resp.Body.Close()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(resp.Body)
	if err != nil {
		return Transfers{}, fmt.Errorf("read metrics of %s: %w", url, err)
	}
	var t Transfers
	t.Count, t.Seconds = histogram(families["vllm:nixl_xfer_time_seconds"])
	_, t.Bytes = histogram(families["vllm:nixl_bytes_transferred"])
	for _, m := range families["vllm:prompt_tokens_by_source_total"].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "source" && l.GetValue() == "external_kv_transfer" {
				t.PromptTokens += m.GetCounter().GetValue()
			}
		}
	}
	return t, nil
}

func histogram(f *dto.MetricFamily) (count, sum float64) {
	for _, m := range f.GetMetric() {
		count += float64(m.GetHistogram().GetSampleCount())
		sum += m.GetHistogram().GetSampleSum()
	}
	return count, sum
}

// AwaitTransfer polls the decode until its metrics show a transfer since the
// earlier reading. vLLM publishes a transfer's figures with a later step of its
// engine, up to ten seconds after the answer.
func AwaitTransfer(ctx context.Context, url string, earlier Transfers) (Transfers, error) {
	t := time.NewTicker(250 * time.Millisecond)
	defer t.Stop()
	for {
		now, err := ReadTransfers(ctx, url)
		if err == nil && now.Bytes > earlier.Bytes {
			return now.Sub(earlier), nil
		}
		select {
		case <-ctx.Done():
			return Transfers{}, fmt.Errorf("wait for a KV transfer in the metrics of %s: %w", url, context.Cause(ctx))
		case <-t.C:
		}
	}
}
