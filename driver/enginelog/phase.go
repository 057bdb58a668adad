package enginelog

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// loadEvery is how often the progress of loading is told. Nomad keeps the
// last ten events of a task, and a model of 200 shards must not push out the rest.
const loadEvery = 30 * time.Second

// Story turns the lines of one engine's start into a few sentences. It is not
// safe for concurrent use; its zero value is not usable, see NewStory.
type Story struct {
	started  time.Time
	progress *regexp.Regexp
	cache    *regexp.Regexp

	lastLoad time.Time
	loaded   bool
	sized    bool
	ready    time.Time
}

// NewStory begins with the engine's start.
func NewStory(started time.Time) *Story {
	return &Story{
		started: started,
		// tqdm's bar, as vLLM formats it for every loader of weights.
		progress: regexp.MustCompile(`Loading .*checkpoint shards.*:\s+(\d+)% Completed \| (\d+)/(\d+)`),
		cache:    regexp.MustCompile(`KV cache size: ([\d,]+) tokens`),
	}
}

// Ready is when the server said that it serves; zero: not yet.
func (s *Story) Ready() time.Time { return s.ready }

// Line returns the sentence that a line is worth, or nothing. Each phase is
// told once, however many processes of the engine announce it.
func (s *Story) Line(line string, at time.Time) string {
	if !s.ready.IsZero() {
		return ""
	}
	switch {
	case strings.Contains(line, "checkpoint shards"):
		return s.load(line, at)
	case strings.Contains(line, "KV cache size: "):
		m := s.cache.FindStringSubmatch(line)
		if m == nil || s.sized {
			return ""
		}
		s.sized = true
		return fmt.Sprintf("KV cache: %s tokens", m[1])
	case strings.Contains(line, "Application startup complete"):
		s.ready = at
		return fmt.Sprintf("Ready after %s", at.Sub(s.started).Round(100*time.Millisecond))
	}
	return ""
}

func (s *Story) load(line string, at time.Time) string {
	m := s.progress.FindStringSubmatch(line)
	if m == nil || s.loaded {
		return ""
	}
	done, _ := strconv.Atoi(m[2])
	total, _ := strconv.Atoi(m[3])
	if done >= total {
		s.loaded = true
		return fmt.Sprintf("Loaded weights: %d of %d files", done, total)
	}
	if !s.lastLoad.IsZero() && at.Sub(s.lastLoad) < loadEvery {
		return ""
	}
	s.lastLoad = at
	return fmt.Sprintf("Loading weights: %d of %d files (%s%%)", done, total, m[1])
}
