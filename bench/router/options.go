package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/nomad-vllm/nomad-vllm/bench/router/peer"
	"github.com/nomad-vllm/nomad-vllm/bench/router/traffic"
)

// instances is how many prefills there are, and how many decodes.
const instances = 2

type options struct {
	cells   []traffic.Cell
	peers   []string
	reps    int
	length  time.Duration
	venv    string
	sidecar string
	router  string
	also    []string
	docs    string
	figures string
	from    string
	profile string
}

const usage = `Usage: go run ./bench/router [flags]

Measures pd-router beside the routers that are installed here, in front of mock
engines that take no time. Cells are KIND-cN: 200B, 16KiB, 220KiB (a chat
request of that size, answered with 200 B), sse and sse1ms (100 tokens without a
gap, and 1 ms apart), streams (20 tokens 100 ms apart, all open at once), at N
connections.

Flags:
`

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("bench/router", flag.ContinueOnError)
	f.Usage = func() { fmt.Fprint(f.Output(), usage); f.PrintDefaults() }
	quick := f.Bool("quick", false, "few cells, 3 repetitions of 0.7 s: about two minutes")
	cells := f.String("cells", "", "`names` of cells with commas (default: all; with -quick, some)")
	peers := f.String("peers", "", "`names` of peers with commas (default: all that are here)")
	f.IntVar(&o.reps, "reps", 5, "repetitions of each cell")
	f.DurationVar(&o.length, "slice", time.Second, "`length` of one repetition")
	f.StringVar(&o.venv, "vllm-router", "", "virtual environment with vllm-router (default: vllm-router in the project's cache)")
	f.StringVar(&o.sidecar, "pd-sidecar", os.Getenv("PD_SIDECAR"), "llm-d's pd-sidecar, a `file` (default $PD_SIDECAR)")
	f.StringVar(&o.router, "pd-router", "", "pd-router to measure, a `file` (default: built from the working tree)")
	f.Func("also", "a further pd-router, `NAME=FILE`; may be given several times", func(s string) error {
		o.also = append(o.also, s)
		return nil
	})
	f.StringVar(&o.docs, "docs", "", "`directory` to write benchmarks.md, its picture and its figures into (default: only print)")
	f.StringVar(&o.figures, "json", "", "`file` to write the figures into")
	f.StringVar(&o.from, "from", "", "`file` written by -json: show its figures and measure nothing")
	f.StringVar(&o.profile, "profile", "", "`directory` for CPU and heap profiles of pd-router, one pair a cell")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("%q is not a flag", f.Arg(0))
	}
	set := map[string]bool{}
	f.Visit(func(f *flag.Flag) { set[f.Name] = true })
	if *quick && !set["reps"] {
		o.reps = 3
	}
	if *quick && !set["slice"] {
		o.length = 700 * time.Millisecond
	}
	if o.reps < 1 || o.length < 50*time.Millisecond {
		return o, fmt.Errorf("-reps %d -slice %v: want at least 1 and 50ms", o.reps, o.length)
	}
	if *peers != "" {
		o.peers = strings.Split(*peers, ",")
	}
	if o.venv == "" {
		o.venv = filepath.Join(cache(), "vllm-router")
	}
	var err error
	switch {
	case *cells != "":
		o.cells, err = traffic.Select(strings.Split(*cells, ","))
	case *quick:
		o.cells, err = traffic.Select(traffic.Quick())
	default:
		o.cells = traffic.Cells()
	}
	return o, err
}

// cache is where the project keeps what it installs, as in the GNUmakefile.
func cache() string {
	if dir := os.Getenv("NOMAD_VLLM_CACHE"); dir != "" {
		return dir
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		dir = os.TempDir()
	}
	return filepath.Join(dir, "nomad-vllm")
}

// findPeers lists the peers that are wanted and here, and says why others are not.
func findPeers(ctx context.Context, o options, dir string) (found []peer.Peer, missing []string, err error) {
	wanted := func(name string) bool {
		return len(o.peers) == 0 || strings.Contains(","+strings.Join(o.peers, ",")+",", ","+name+",")
	}
	take := func(name string, find func() (peer.Peer, error)) {
		if !wanted(name) {
			return
		}
		p, err := find()
		if err != nil {
			missing = append(missing, err.Error())
			return
		}
		found = append(found, p)
	}
	take(peer.NameDirect, func() (peer.Peer, error) { return peer.Direct(), nil })
	take(peer.NameNginx, peer.Nginx)
	take(peer.NameVLLMRouter, func() (peer.Peer, error) { return peer.VLLMRouter(o.venv) })
	take(peer.NameSidecar, func() (peer.Peer, error) { return peer.Sidecar(o.sidecar) })
	ours := append([]string{peer.NameOurs + "=" + o.router}, o.also...)
	for _, s := range ours {
		name, file, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return nil, nil, fmt.Errorf("-also %q: want NAME=FILE", s)
		}
		if !wanted(name) {
			continue
		}
		if file == "" {
			if file, err = build(ctx, dir); err != nil {
				return nil, nil, err
			}
		}
		p, err := peer.Ours(name, file)
		if err != nil {
			return nil, nil, err
		}
		if s == ours[0] && o.router == "" {
			p.Version = "commit " + commit(ctx) + ", built by this run"
		}
		found = append(found, p)
	}
	if len(found) == 0 {
		return nil, nil, fmt.Errorf("no peer to measure: %s", strings.Join(missing, "; "))
	}
	return found, missing, nil
}

// build makes pd-router as `make build` does.
func build(ctx context.Context, dir string) (string, error) {
	out := filepath.Join(dir, "bin-pd-router")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, "./cmd/pd-router")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build pd-router: %w\n%s", err, b)
	}
	return out, nil
}

// commit is the working tree's, "" outside git.
func commit(ctx context.Context) string {
	b, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
