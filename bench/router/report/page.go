package report

import (
	"fmt"
	"strings"
	"time"
)

// Page is docs/benchmarks.md: this run, and an earlier one beside it. before
// may be nil. The picture is a file beside the page.
func Page(r, before *Run, picture string) []byte {
	p := &page{run: r, before: before}
	p.line("# What the router costs, beside its peers\n")
	p.line("Written by `make bench-router`: all peers in one run on one machine, in turns. Do not edit.\n")
	p.setting()
	p.line("\n![CPU per request of each router, by kind of request](%s)\n", picture)
	p.line("CPU is user and system time of all of a router's processes for one request, in microseconds: the figure that carries over to other machines, by its ratios.")
	p.line("A request makes two legs, except through nginx, which is the floor: a plain proxy to one leg.\n")
	p.costs()
	p.verdicts()
	p.times()
	p.streams()
	p.history()
	p.b.WriteString(method)
	return []byte(p.b.String())
}

type page struct {
	run, before *Run
	b           strings.Builder
}

func (p *page) line(format string, args ...any) { fmt.Fprintf(&p.b, format+"\n", args...) }

// table starts a table with these headings.
func (p *page) table(headings ...string) {
	p.row(headings...)
	p.line("|%s", strings.Repeat("---|", len(headings)))
}

func (p *page) row(fields ...string) { p.line("| %s |", strings.Join(fields, " | ")) }

func (p *page) setting() {
	r, m := p.run, p.run.Machine
	p.line("%s; %s, %d cores, %d GiB, %s, %s; commit %s.", r.Date.Format("2006-01-02 15:04 MST"), m.CPU, m.Cores, (m.MiB+512)/1024, m.Kernel, m.Go, r.Commit)
	p.line("%d repetitions of %v for each cell and peer, medians; %d prefills and %d decodes without think time, on loopback.", r.Repetitions, r.Slice, r.Instances, r.Instances)
	p.line("**Other processes took %.0f %% of the machine while it measured.** CPU per request hardly minds; requests a second and times do: read those of a busy run as an order of peers, no more.", 100*r.Others)
	for _, peer := range r.Peers {
		p.line("- %s: %s", peer.Name, peer.Version)
	}
	for _, missing := range r.Missing {
		p.line("- not measured: %s", missing)
	}
}

// costs is the table of CPU per request with its ratios.
func (p *page) costs() {
	p.line("## CPU per request\n")
	p.table("cell", "nginx, 1 leg", "vllm-router", "pd-sidecar", "pd-router", "of vllm-router", "of pd-sidecar", "of nginx")
	recorded := false
	for _, c := range p.run.Cells {
		if strings.HasPrefix(c.Name, streams) {
			continue
		}
		fields := []string{title(c.Name)}
		for _, peer := range []string{nginx, vllmRouter, sidecar, ours} {
			fields = append(fields, cpu(c.Figures[peer]))
		}
		for _, peer := range []string{vllmRouter, sidecar, nginx} {
			field, old := p.ratio(c.Name, peer)
			recorded = recorded || old
			fields = append(fields, field)
		}
		p.row(fields...)
	}
	if recorded {
		p.line("\n\\* not of this run: pd-sidecar was not here. Its ratio to vllm-router in the run of %s is used instead.", p.before.Date.Format(time.DateOnly))
	}
}

// ratio is pd-router's to a peer; old says that the peer's share of it is from
// the earlier run.
func (p *page) ratio(cell, peer string) (field string, old bool) {
	ratio := p.run.ratioOf(cell, ours, peer)
	if ratio == 0 && peer == sidecar && p.before != nil {
		if then := p.before.ratioOf(cell, peer, vllmRouter); then > 0 {
			ratio, old = p.run.ratioOf(cell, ours, vllmRouter)/then, true
		}
	}
	l, ok := limitOf(cell, peer)
	switch {
	case ratio == 0:
		return "-", false
	case !ok:
		field = fmt.Sprintf("%.2f", ratio)
	default:
		field = verdict(ratio, l)
	}
	if old {
		field += " \\*"
	}
	return field, old
}

func (p *page) verdicts() {
	p.line("")
	for _, peer := range []string{vllmRouter, sidecar, nginx} {
		if held, of := p.run.held(peer); of > 0 {
			p.line("- of the limits against %s, %d of %d hold", peer, held, of)
		}
	}
	if beyond := p.run.beyondTheFloor(); len(beyond) > 0 {
		p.line("- where nginx itself, with one leg and no look at what passes, is above the limit: %s", strings.Join(beyond, "; "))
	}
	d, ok := p.run.Figure("200B-c1", direct)
	o, ok2 := p.run.Figure("200B-c1", ours)
	if ok && ok2 {
		added := o.P50 - d.P50
		p.line("\nAdded p50 at one connection and 200 B over a client that makes both legs itself: %.0f us (limit %.0f %s).", added, addedLimit, mark(added <= addedLimit))
	}
	if f, ok := p.run.Figure("200B-c64", ours); ok {
		p.line("Resident memory after 200 B at 64 connections: pd-router %.0f MiB%s.", f.RSSMiB, p.memory("200B-c64"))
	}
}

// memory lists the other peers' at a cell.
func (p *page) memory(cell string) string {
	var b strings.Builder
	for _, peer := range []string{nginx, vllmRouter, sidecar} {
		if f, ok := p.run.Figure(cell, peer); ok {
			fmt.Fprintf(&b, ", %s %.0f", peer, f.RSSMiB)
		}
	}
	return b.String()
}

// times is the table of what depends on how quiet the machine is.
func (p *page) times() {
	p.line("\n## Requests a second, and times\n")
	p.line("Each field: requests a second, p50 ms, p99 ms; for streams also the p50 and p99 of a token's way from engine to client, in us. Above one connection it is the whole machine's figure: client, engines and router share the cores.\n")
	headings := []string{"cell"}
	for _, peer := range p.run.Peers {
		headings = append(headings, peer.Name)
	}
	p.table(headings...)
	for _, c := range p.run.Cells {
		if strings.HasPrefix(c.Name, streams) {
			continue
		}
		fields := []string{title(c.Name)}
		for _, peer := range p.run.Peers {
			f := c.Figures[peer.Name]
			field := fmt.Sprintf("%.0f, %.2f, %.2f", f.PerSecond, f.P50/1000, f.P99/1000)
			if f.Token50 > 0 {
				field += fmt.Sprintf("; %.0f, %.0f", f.Token50, f.Token99)
			}
			if f.Fault != "" {
				field = "invalid"
			}
			fields = append(fields, field)
		}
		p.row(fields...)
	}
}

// streams is the table of many streams that are open at once.
func (p *page) streams() {
	cells := p.run.streamCells()
	if len(cells) == 0 {
		return
	}
	p.line("\n## Open streams\n")
	p.line("All are opened, then each gets 20 tokens 100 ms apart: 1,000 streams are 10,000 tokens a second for two seconds. Late is a token that took over 50 ms from engine to client; `direct` shows what is left to a router on this machine. The limit: 10,000 in under %.0f MiB, none dropped, none late.\n", streamsLimit)
	p.table("streams", "peer", "dropped", "MiB open", "MiB at most", "tokens late", "token p50, p99 ms", "CPU us a token")
	for _, c := range cells {
		for _, peer := range p.run.Peers {
			f, ok := c.Figures[peer.Name]
			if !ok || f.Streams == nil {
				continue
			}
			s := f.Streams
			p.row(fmt.Sprint(s.Asked), peer.Name, fmt.Sprint(s.Dropped), number(s.OpenMiB), number(f.RSSMiB), fmt.Sprintf("%.1f %%", 100*s.Late),
				fmt.Sprintf("%.1f, %.1f", f.Token50/1000, f.Token99/1000), number(f.CPU/20))
		}
	}
	p.line("")
	for _, c := range cells {
		if f, ok := c.Figures[ours]; ok && f.Streams != nil {
			p.line("- pd-router at %d: memory %s, dropped %s, late %s", f.Streams.Asked, mark(f.RSSMiB < streamsLimit), mark(f.Streams.Dropped == 0), mark(f.Streams.Late == 0))
		}
	}
	if last, ok := cells[len(cells)-1].Figures[ours]; ok && last.Streams != nil && last.Streams.Asked < 10000 {
		p.line("\nThis machine lets a process open too few files for 10,000.")
	}
}

func mark(ok bool) string {
	if ok {
		return "✓"
	}
	return "✗"
}

// history sets the run beside the earlier one, by ratios, which do not mind
// that the machine was another or busier.
func (p *page) history() {
	if p.before == nil {
		return
	}
	p.line("\n## Before and after\n")
	p.line("pd-router's CPU per request as a multiple of vllm-router's in the same run: before (%s, %s) and now.\n", p.before.Date.Format(time.DateOnly), p.before.versionOf(ours))
	p.table("cell", "before, us", "of vllm-router", "now, us", "of vllm-router", "now / before, by ratio")
	for _, c := range p.run.Cells {
		then, now := p.before.ratioOf(c.Name, ours, vllmRouter), p.run.ratioOf(c.Name, ours, vllmRouter)
		if then == 0 || now == 0 || strings.HasPrefix(c.Name, streams) {
			continue
		}
		f, _ := p.before.Figure(c.Name, ours)
		p.row(title(c.Name), number(f.CPU), fmt.Sprintf("%.2f", then), number(c.Figures[ours].CPU), fmt.Sprintf("%.2f", now), fmt.Sprintf("%.2f", now/then))
	}
}

func (r *Run) versionOf(peer string) string {
	for _, p := range r.Peers {
		if p.Name == peer {
			return p.Version
		}
	}
	return "unknown"
}

// title is a cell's name for readers.
func title(cell string) string {
	kind, conns, _ := strings.Cut(cell, "-c")
	switch kind {
	case "sse":
		kind = "100 tokens, no gap"
	case "sse1ms":
		kind = "100 tokens, 1 ms apart"
	case "200B", "16KiB", "220KiB":
		kind = strings.Replace(strings.Replace(kind, "KiB", " KiB", 1), "00B", "00 B", 1)
	}
	return kind + ", c" + conns
}

// cpu is a median with the least and greatest repetition.
func cpu(f Figure) string {
	if f.CPU == 0 || f.Fault != "" {
		return "-"
	}
	return fmt.Sprintf("%.0f (%.0f–%.0f)", f.CPU, f.CPULow, f.CPUHigh)
}

const method = `
## How it is measured

- ` + "`make bench-router`" + ` installs vllm-router from PyPI in an environment of its own and Debian's nginx, builds pd-router from the working
  tree, runs everything (about 15 minutes) and writes this page. ` + "`make bench-router BENCH=-quick`" + ` takes two minutes and writes nothing;
  ` + "`go run ./bench/router -h`" + ` has the rest: single cells, two builds of pd-router side by side, profiles.
- llm-d's pd-sidecar takes part if PD_SIDECAR names its binary. In llm-d there are Envoy and an endpoint picker in front of it, so that a
  real hop costs more than its figures here.
- The engines are mocks without think time. They check the protocol: leg 1 must ask for one token and a remote decode, leg 2 must be the
  client's request with the parameters that one prefill gave, once; one body in 64 is decoded in full and compared. A router that gets
  any of it wrong has no figure. Requests, prefills and decodes must be equal in number.
- A cell is a kind of request at a number of keep-alive connections, in a closed loop without pipelining. Bodies are chats of 200 B, 16 KiB or
  220 KiB with 32 different prompts; the answer is 200 B of JSON, or a stream, each token in a write of its own.
- A repetition warms up, waits until nothing is under way, reads the CPU clocks of the router's processes (nanoseconds; the sum that
  /proc/PID/stat has in ticks), runs, waits again and reads them again. Peers take turns, and each repetition begins with another one.
- pd-router runs as shipped: metrics, selection and checks on, log level info. vllm-router runs its fastest policy (round_robin) and
  logs warnings only. nginx keeps connections on both sides and does not buffer answers.
- Memory is resident, and counts pages that several processes of a router share once for each.
`
