package dev

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/nomad/api"

	"github.com/nomad-vllm/nomad-vllm/dev/demo"
	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
)

// transferTimeout is how long a decode may take to publish a transfer's
// figures: vLLM does so within ten seconds.
const transferTimeout = 30 * time.Second

// ask sends the README's chat completion and shows what served it. It fails if
// the request was not disaggregated, or if no KV cache moved.
func (r *run) ask(ctx context.Context) error {
	r.say.step("POST %s/v1/chat/completions", r.router)
	instances, err := r.instances(ctx)
	if err != nil {
		return err
	}
	before := map[string]demo.Transfers{}
	for id, i := range instances {
		if i.Role.Decodes() {
			if before[id], err = demo.ReadTransfers(ctx, i.URL); err != nil {
				return err
			}
		}
	}
	a, err := demo.Ask(ctx, r.router, demo.Body)
	if err != nil {
		return err
	}
	total := time.Since(r.start)
	r.say.line("%s", wrap(a.Text, 88, "    "))
	r.say.line("")
	r.say.line("path         %s %s", a.Path, a.Reason)
	if a.Path != pd.PathDisaggregated {
		return fmt.Errorf("the chat completion took the %s path (%s), not the disaggregated one", a.Path, a.Reason)
	}
	names := r.names()
	legs := serverTiming(a.ServerTiming)
	for _, leg := range []struct{ name, id string }{{"prefill", a.Prefill}, {"decode", a.Decode}} {
		i := instances[leg.id]
		if i == nil {
			return fmt.Errorf("the router names %s instance %q, which Consul does not have", leg.name, leg.id)
		}
		r.say.line("%-12s %s at %s, %s ms", leg.name, names[i.Meta.Alloc], i.URL, legs[leg.name])
	}
	if err := r.transfer(ctx, instances[a.Decode], before[a.Decode]); err != nil {
		return err
	}
	r.say.line("tokens       %d in, %d out, %d ms in all", a.PromptTokens, a.CompletionTokens, a.Elapsed.Milliseconds())
	r.say.line("request id   %s", a.RequestID)
	r.say.line("the answer was there %.1f s after the start", total.Seconds())
	r.say.step("by hand")
	fmt.Fprintln(r.o.Out, demo.Curl(r.router))
	r.say.line("router %s   nomad %s/ui   consul http://%s/ui", r.adminPage(), r.cluster.NomadAddr(), r.cluster.ConsulAddr())
	return nil
}

func (r *run) transfer(ctx context.Context, decode *fleet.Instance, before demo.Transfers) error {
	ctx, cancel := context.WithTimeout(ctx, transferTimeout)
	defer cancel()
	t, err := demo.AwaitTransfer(ctx, decode.URL, before)
	if err != nil {
		return fmt.Errorf("the request was called disaggregated, but no KV cache moved: %w", err)
	}
	r.say.line("kv transfer  %s in %.2f ms, %.0f prompt tokens not computed again (the decode's own metrics)",
		size(t.Bytes), t.Seconds*1000, t.PromptTokens)
	return nil
}

// instances reads the fleet from Consul, by instance ID.
func (r *run) instances(ctx context.Context) (map[string]*fleet.Instance, error) {
	f, err := fleet.NewConsul(fleet.ConsulConfig{Address: r.cluster.ConsulAddr()}, hclog.NewNullLogger())
	if err != nil {
		return nil, err
	}
	s, err := f.Fetch(ctx)
	if err != nil {
		return nil, err
	}
	out := map[string]*fleet.Instance{}
	for _, i := range s.Instances {
		out[i.ID] = i
	}
	return out, nil
}

// names maps allocation IDs to "group[index]"; an instance whose allocation is
// not found is shown without a name.
func (r *run) names() map[string]string {
	out := map[string]string{}
	allocs, _, err := r.cluster.Nomad.Jobs().Allocations(r.jobID, false, nil)
	if err != nil {
		return out
	}
	for _, a := range allocs {
		out[a.ID] = strings.TrimPrefix(a.Name, r.jobID+".")
	}
	return out
}

// adminPage is the address of the router's status page, or of the router itself
// if the job gives it none.
func (r *run) adminPage() string {
	allocs, _, err := r.cluster.Nomad.Jobs().Allocations(r.jobID, false, &api.QueryOptions{Params: map[string]string{"resources": "true"}})
	if err != nil {
		return r.router
	}
	for _, a := range allocs {
		if a.ClientStatus != "running" || a.AllocatedResources == nil {
			continue
		}
		for _, p := range a.AllocatedResources.Shared.Ports {
			if p.Label == "admin" {
				return fmt.Sprintf("http://127.0.0.1:%d", p.Value)
			}
		}
	}
	return r.router
}

// serverTiming reads "prefill;dur=1.5, decode;dur=2" into milliseconds by name.
func serverTiming(h string) map[string]string {
	out := map[string]string{}
	for _, entry := range strings.Split(h, ",") {
		name, rest, _ := strings.Cut(strings.TrimSpace(entry), ";")
		if d, ok := strings.CutPrefix(rest, "dur="); ok {
			out[name] = d
		}
	}
	return out
}

func size(bytes float64) string {
	for _, u := range []struct {
		name string
		n    float64
	}{{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if bytes >= u.n {
			return fmt.Sprintf("%.2f %s", bytes/u.n, u.name)
		}
	}
	return fmt.Sprintf("%.0f B", bytes)
}

// wrap breaks a text at spaces into lines of at most width, indenting all but
// the first.
func wrap(s string, width int, indent string) string {
	var b strings.Builder
	n := 0
	for _, word := range strings.Fields(s) {
		if n > 0 && n+1+len(word) > width {
			b.WriteString("\n" + indent)
			n = 0
		} else if n > 0 {
			b.WriteByte(' ')
			n++
		}
		b.WriteString(word)
		n += len(word)
	}
	return b.String()
}
