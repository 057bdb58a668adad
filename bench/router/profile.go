package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/nomad-vllm/nomad-vllm/bench/router/load"
	"github.com/nomad-vllm/nomad-vllm/bench/router/peer"
	"github.com/nomad-vllm/nomad-vllm/bench/router/traffic"
)

// profiled is how long a CPU profile is taken for.
const profiled = 5 * time.Second

// profile takes a CPU and a heap profile under a cell's load, apart from the
// repetitions that are measured, because a profile costs time itself. Both go
// into a directory; `go tool pprof` reads them.
func (b *bench) profile(ctx context.Context, r *peer.Running, cell traffic.Cell, dir string) error {
	if !r.Profiled || cell.Answer.Hold {
		return nil
	}
	url, err := r.Profiles()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	loop, err := load.NewLoop(r.Target, cell)
	if err != nil {
		return err
	}
	defer loop.Close()
	name := filepath.Join(dir, cell.Name()+"-"+r.Name)
	fetched := make(chan error, 1)
	go func() {
		fetched <- errors.Join(
			fetch(ctx, fmt.Sprintf("%sprofile?seconds=%.0f", url, profiled.Seconds()), name+".cpu.pprof"),
			fetch(ctx, url+"heap", name+".heap.pprof"))
	}()
	got := loop.Run(ctx, profiled+time.Second)
	b.say("%s: profiles of %d requests in %s.*.pprof", r.Name, got.Requests, name)
	return errors.Join(<-fetched, got.First)
}

// fetch writes what a URL has into a file.
func fetch(ctx context.Context, url, name string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("fetch profile: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("fetch profile: %s: %s", url, resp.Status)
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, resp.Body)
	return errors.Join(err, f.Close())
}
