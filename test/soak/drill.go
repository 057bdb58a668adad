package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nomad-vllm/nomad-vllm/fleet/consultest"
)

// config is what a run is made of.
type config struct {
	router, sim string // binaries
	lasts       time.Duration
	clients     int
	seed        uint64
}

// The router's limits in a drill: short, so that what hangs is noticed.
const (
	legTimeout   = 2 * time.Second
	writeTimeout = 2 * time.Second
	lease        = 3 * time.Second
)

var discard = log.New(io.Discard, "", 0)

// drill is a router, its instances, its Consul, and who troubles them.
type drill struct {
	cfg    config
	dir    string
	stands []*stand
	consul *consultest.Consul
	router *process
	url    string // of the router, host:port
	admin  string // its operators' listener
	tally  *tally
	end    []func()
}

// run makes one drill.
func run(ctx context.Context, c config) (report, error) {
	d := &drill{cfg: c, consul: &consultest.Consul{}, tally: newTally()}
	defer d.stop()
	if err := d.start(ctx); err != nil {
		return report{}, err
	}
	warm, cancel := context.WithTimeout(ctx, 2*time.Second)
	d.clients(warm)
	cancel()
	before, err := d.rest(ctx, nil)
	if err != nil {
		return report{}, err
	}
	d.tally.reset()
	peak := d.load(ctx)
	d.calm()
	r := report{cfg: c, tally: d.tally, before: before, peak: peak, at: time.Now()}
	if r.leaked, err = d.blocks(ctx); err != nil {
		return r, err
	}
	if r.after, err = d.rest(ctx, &before); err != nil {
		return r, err
	}
	r.counters, err = d.counters()
	return r, err
}

func (d *drill) start(ctx context.Context) (err error) {
	if d.dir, err = os.MkdirTemp("", "soak-"); err != nil {
		return err
	}
	dice := rand.New(rand.NewPCG(d.cfg.seed, 0))
	for _, role := range []string{"prefill", "decode"} {
		for n := range 3 {
			if err := d.addStand(fmt.Sprint(role, n), role, dice); err != nil {
				return err
			}
		}
	}
	for _, s := range d.stands {
		if err := await(ctx, s.simURL+"/health"); err != nil {
			return err
		}
	}
	return d.startRouter(ctx, dice)
}

func (d *drill) addStand(name, role string, dice *rand.Rand) error {
	var ports [3]int
	for n := range ports {
		var err error
		if ports[n], err = freePort(dice.IntN); err != nil {
			return err
		}
	}
	kv := map[string]string{"prefill": "kv_producer", "decode": "kv_consumer"}[role]
	sim, err := d.process(name,
		[]string{"VLLM_SIM_ADMIN=1", "VLLM_SIM_LOAD=0s", "VLLM_NIXL_SIDE_CHANNEL_HOST=127.0.0.1", "VLLM_NIXL_SIDE_CHANNEL_PORT=" + strconv.Itoa(ports[1])},
		d.cfg.sim, "serve", "m", "--host", "127.0.0.1", "--port", strconv.Itoa(ports[0]), "--max-model-len", "4096",
		"--kv-transfer-config", fmt.Sprintf(`{"kv_connector":"NixlConnector","kv_role":%q,"kv_connector_extra_config":{"kv_lease_duration":%v}}`, kv, lease.Seconds()))
	if err != nil {
		return err
	}
	s, err := newStand(name, role, ports[2], sim, "http://127.0.0.1:"+strconv.Itoa(ports[0]))
	if err != nil {
		return err
	}
	d.stands = append(d.stands, s)
	d.end = append(d.end, s.refuse)
	return s.listen()
}

// process starts a child whose log is kept in the drill's folder.
func (d *drill) process(name string, env []string, argv ...string) (*process, error) {
	out, err := os.Create(filepath.Join(d.dir, name+".log"))
	if err != nil {
		return nil, err
	}
	p := &process{argv: argv, env: env, log: out}
	d.end = append(d.end, func() { p.stop(syscall.SIGKILL); _ = out.Close() })
	_, err = p.start()
	return p, err
}

func (d *drill) startRouter(ctx context.Context, dice *rand.Rand) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server, served := &http.Server{Handler: d.consul, ErrorLog: discard}, make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	d.end = append(d.end, func() { _ = server.Close(); <-served })
	d.consul.Set(d.registered()...)
	port, err := freePort(dice.IntN)
	if err != nil {
		return err
	}
	d.url = "127.0.0.1:" + strconv.Itoa(port)
	if port, err = freePort(dice.IntN); err != nil {
		return err
	}
	d.admin = "127.0.0.1:" + strconv.Itoa(port)
	t, w := legTimeout.String(), writeTimeout.String()
	d.router, err = d.process("router", nil, d.cfg.router, "-listen", d.url, "-admin", d.admin, "-consul-addr", l.Addr().String(), "-local-below", "0", "-log-level", "warn",
		"-prefill-timeout", t, "-first-token-timeout", t, "-answer-timeout", (2 * legTimeout).String(), "-stall-timeout", t, "-write-timeout", w, "-body-timeout", w,
		"-instance-wait", "3s", "-breaker-open", "300ms", "-breaker-max-open", "2s", "-slow-start", "1s")
	if err != nil {
		return err
	}
	return await(ctx, "http://"+d.url+"/ready")
}

// registered is everybody, as Consul tells it.
func (d *drill) registered() (all []consultest.Instance) {
	for _, s := range d.stands {
		all = append(all, consultest.Instance{
			ID: s.name, Host: "127.0.0.1", Port: s.port, Role: s.role,
			Meta: map[string]string{"pd_model": "m", "pd_kv_lease": strconv.Itoa(int(lease.Seconds()))},
		})
	}
	return all
}

// load runs clients and trouble for as long as the drill lasts, and returns the
// most memory that the router held.
func (d *drill) load(ctx context.Context) (peak int64) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.lasts)
	defer cancel()
	var wg sync.WaitGroup
	for n, trouble := range []func(context.Context, *rand.Rand){d.killer, d.spoiler, d.spoiler, d.scripter, d.supervisor, d.flapper} {
		dice := rand.New(rand.NewPCG(d.cfg.seed, uint64(100+n)))
		wg.Go(func() { trouble(ctx, dice) })
	}
	wg.Go(func() {
		for pause(ctx, 500*time.Millisecond) {
			peak = max(peak, residentBytes(d.router.pid()))
		}
	})
	d.clients(ctx)
	wg.Wait()
	return peak
}

func (d *drill) clients(ctx context.Context) {
	var wg sync.WaitGroup
	for n := range d.cfg.clients {
		c := &client{router: d.url, dice: rand.New(rand.NewPCG(d.cfg.seed, uint64(1000+n))), http: &http.Client{Transport: &http.Transport{}}, tally: d.tally}
		wg.Go(func() { c.run(ctx) })
	}
	wg.Wait()
}

// calm puts everything right.
func (d *drill) calm() {
	for _, s := range d.stands {
		s.set("")
		s.sim.signal(syscall.SIGCONT)
		d.revive(s)
	}
	d.consul.SetDown(false)
	d.consul.Set(d.registered()...)
}

// blocks waits for the leases' end and returns who still holds anything.
func (d *drill) blocks(ctx context.Context) (held []string, err error) {
	for until := time.Now().Add(lease + 15*time.Second); time.Now().Before(until) && pause(ctx, 200*time.Millisecond); {
		held, err = nil, nil
		for _, s := range d.stands {
			state, e := get(s.simURL + "/sim/state")
			var has map[string]int
			if e = errors.Join(e, json.Unmarshal([]byte(state), &has)); e != nil {
				err = fmt.Errorf("state of %s: %w", s.name, e)
				continue
			}
			for what, n := range has {
				if n != 0 {
					held = append(held, fmt.Sprintf("%s: %d %s", s.name, n, what))
				}
			}
		}
		if err == nil && len(held) == 0 {
			return nil, nil
		}
	}
	return held, errors.Join(err, context.Cause(ctx))
}

// rest is what the router holds when nothing is asked of it. With a mark it
// waits until there is no more than that, up to half a minute.
func (d *drill) rest(ctx context.Context, mark *holding) (h holding, err error) {
	for range 15 {
		if !pause(ctx, 2*time.Second) {
			return h, context.Cause(ctx)
		}
		last := h
		if h, err = d.holding(); err != nil {
			return h, err
		}
		settled := h.goroutines == last.goroutines && h.files == last.files && h.inFlight == 0
		if settled && (mark == nil || h.goroutines <= mark.goroutines && h.files <= mark.files) {
			return h, nil
		}
	}
	return h, nil
}

func (d *drill) holding() (h holding, err error) {
	c, err := d.counters()
	if err != nil {
		return h, err
	}
	// Not go_goroutines: what is gathered for a scrape is gathered by goroutines.
	stacks, err := get("http://" + d.admin + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		return h, fmt.Errorf("the router's goroutines: %w", err)
	}
	goroutines := 0
	if _, err := fmt.Sscanf(stacks, "goroutine profile: total %d", &goroutines); err != nil {
		return h, fmt.Errorf("the router's goroutines: %w", err)
	}
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", d.router.pid()))
	if err != nil {
		return h, err
	}
	return holding{
		goroutines: goroutines, stacks: stacks, files: len(files), resident: residentBytes(d.router.pid()), inFlight: int(c["pd_router_requests_in_flight"]),
	}, nil
}

// counters are the router's series, without their histograms' buckets.
func (d *drill) counters() (map[string]float64, error) {
	text, err := get("http://" + d.url + "/metrics")
	if err != nil {
		return nil, fmt.Errorf("the router's metrics: %w", err)
	}
	out := map[string]float64{}
	for line := range strings.Lines(text) {
		at := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || at < 0 || strings.Contains(line, "_bucket{") {
			continue
		}
		if v, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64); err == nil {
			out[line[:at]] = v
		}
	}
	return out, nil
}

// get reads a page over a connection of its own, which is closed after it.
func get(url string) (string, error) {
	c := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s", url, resp.Status)
	}
	return string(b), err
}

// stop ends everything, last first.
func (d *drill) stop() {
	for n := len(d.end) - 1; n >= 0; n-- {
		d.end[n]()
	}
	_ = os.RemoveAll(d.dir)
}
