package agents

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	version "github.com/hashicorp/go-version"
)

// modules holds NAME.mod and NAME.sum for each agent.
//
//go:embed modules
var modules embed.FS

// Agent is one program that the cluster needs.
type Agent struct {
	Name    string // the executable's name
	Package string // the Go package that builds it
	Pinned  string // the version that is built when none is installed
	Least   string // the oldest installed version that will do
	Takes   string // how long a build takes on two cores with nothing cached
}

// All lists the agents in the order in which they are built.
func All() []Agent {
	return []Agent{
		{"nomad", "github.com/hashicorp/nomad", "1.11.3", "1.9.0", "about 6 minutes"},
		{"consul", "github.com/hashicorp/consul", "1.21.0", "1.18.0", "about 5 minutes"},
		{"nomad-autoscaler", "github.com/hashicorp/nomad-autoscaler", "0.5.0", "0.4.0", "about 4 minutes"},
	}
}

// Found says where an agent is.
type Found struct {
	Agent
	Path    string
	Version string
	Built   bool // in the cache, rather than on PATH
}

// ErrNotInstalled is returned by Locate when an agent is neither on PATH in a
// sufficient version nor in the cache.
var ErrNotInstalled = errors.New("not installed")

// CacheDir is where built agents live: $NOMAD_VLLM_CACHE, or nomad-vllm under
// the user's cache directory.
func CacheDir() (string, error) {
	if d := os.Getenv("NOMAD_VLLM_CACHE"); d != "" {
		return filepath.Abs(d)
	}
	d, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a cache directory: %w; set NOMAD_VLLM_CACHE to a writable directory", err)
	}
	return filepath.Join(d, "nomad-vllm"), nil
}

// Locate finds the agent on PATH, if its version will do, or in the cache.
// The error wraps ErrNotInstalled when it has to be built.
func (a Agent) Locate(ctx context.Context, cache string) (Found, error) {
	if path, err := exec.LookPath(a.Name); err == nil {
		v, err := versionOf(ctx, path)
		if err == nil && !v.LessThan(version.Must(version.NewVersion(a.Least))) {
			return Found{Agent: a, Path: path, Version: v.String()}, nil
		}
	}
	path := a.cached(cache)
	if v, err := versionOf(ctx, path); err == nil {
		return Found{Agent: a, Path: path, Version: v.String(), Built: true}, nil
	}
	return Found{}, fmt.Errorf("%s >= %s: %w", a.Name, a.Least, ErrNotInstalled)
}

// cached is where the pinned build goes; the version is in the path so that a
// new pin never runs an old binary.
func (a Agent) cached(cache string) string {
	return filepath.Join(cache, "agents", a.Name+"-"+a.Pinned, a.Name)
}

var versionPattern = regexp.MustCompile(`v(\d+\.\d+\.\d+)`)

// versionOf runs `PATH version`. Pre-release marks are dropped: what counts is
// which features are there, and source builds all say "-dev".
func versionOf(ctx context.Context, path string) (*version.Version, error) {
	out, err := exec.CommandContext(ctx, path, "version").Output()
	if err != nil {
		return nil, fmt.Errorf("run %s version: %w", path, err)
	}
	m := versionPattern.FindSubmatch(out)
	if m == nil {
		return nil, fmt.Errorf("run %s version: no version in %.80q", path, out)
	}
	return version.NewVersion(string(m[1]))
}
