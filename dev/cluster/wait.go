package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	nomadapi "github.com/hashicorp/nomad/api"
)

// poll is how often a condition is looked at again.
const poll = 100 * time.Millisecond

// waitFor asks until ok returns nil, the process ends, the time is up, or the
// context ends. The error carries the last answer and the end of the log.
func waitFor(ctx context.Context, p *process, limit time.Duration, what string, ok func() error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	t := time.NewTicker(poll)
	defer t.Stop()
	for {
		last := ok()
		if last == nil {
			return nil
		}
		if err := p.exited(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w (last: %w); the end of %s:\n%s", what, ctx.Err(), last, p.log, tail(p.log, 15))
		case <-t.C:
		}
	}
}

// stopJobs stops every job and waits until their allocations have ended.
func (c *Cluster) stopJobs() error {
	jobs, _, err := c.Nomad.Jobs().List(nil)
	if err != nil {
		return fmt.Errorf("list jobs: %w", err)
	}
	for _, j := range jobs {
		if _, _, err := c.Nomad.Jobs().DeregisterOpts(j.ID, &nomadapi.DeregisterOptions{NoShutdownDelay: true}, nil); err != nil {
			return fmt.Errorf("stop job %s: %w", j.ID, err)
		}
	}
	return waitFor(context.Background(), c.nomad, 90*time.Second, "the jobs to stop", func() error {
		allocs, _, err := c.Nomad.Allocations().List(nil)
		if err != nil {
			return err
		}
		for _, a := range allocs {
			if a.ClientStatus == "running" || a.ClientStatus == "pending" {
				return fmt.Errorf("allocation %s is %s", a.Name, a.ClientStatus)
			}
		}
		return nil
	})
}

// healthy asks a health endpoint.
func healthy(url string) error {
	client := http.Client{Timeout: 2 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}

// linkOrCopy puts a file elsewhere on the same or another file system.
func linkOrCopy(from, to string) error {
	if err := os.Link(from, to); err == nil {
		return nil
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func joinLines(lines []string) string { return strings.Join(lines, "\n  ") }
