package apm

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/nomad-vllm/nomad-vllm/fleet"
)

const (
	// maxBody bounds one instance's metrics; a real engine's are about 60 KiB.
	maxBody = 8 << 20
	// maxParallel bounds the scrapes of one query that run at the same time.
	maxParallel = 64
)

// reading is what one instance said, or why it said nothing.
type reading struct {
	instance *fleet.Instance
	at       time.Time
	metrics  engineMetrics
	err      error
}

// scraper reads instances' metrics over HTTP.
type scraper struct {
	client *http.Client
}

func newScraper(timeout time.Duration) *scraper {
	return &scraper{client: &http.Client{
		Timeout: timeout,
		// Instances are addresses inside the cluster: never through a proxy.
		// Evaluations are further apart than vLLM keeps a connection open
		// (5 s), so reusing one would only race with its end.
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: timeout}).DialContext,
			DisableKeepAlives:      true,
			MaxResponseHeaderBytes: 64 << 10,
		},
		// Whatever redirects is not the engine itself.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// all reads every instance and returns when each has answered or timed out.
func (s *scraper) all(ctx context.Context, instances []*fleet.Instance) []reading {
	readings := make([]reading, len(instances))
	slots := make(chan struct{}, maxParallel)
	var wg sync.WaitGroup
	for n, i := range instances {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			metrics, err := s.one(ctx, i.URL)
			readings[n] = reading{instance: i, at: time.Now(), metrics: metrics, err: err}
		})
	}
	wg.Wait()
	return readings
}

func (s *scraper) one(ctx context.Context, base string) (engineMetrics, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/metrics", nil)
	if err != nil {
		return engineMetrics{}, err
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return engineMetrics{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return engineMetrics{}, fmt.Errorf("GET %s: status %s", req.URL, resp.Status)
	}
	// Read first, parse then: the timeout is for the instance, not for us.
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = fmt.Errorf("more than %d bytes; is this a vLLM server?", maxBody)
	}
	if err != nil {
		return engineMetrics{}, fmt.Errorf("GET %s: %w", req.URL, err)
	}
	metrics, err := parseMetrics(bytes.NewReader(body))
	if err != nil {
		return engineMetrics{}, fmt.Errorf("GET %s: %w", req.URL, err)
	}
	return metrics, nil
}
