// Package nomadvllm holds the checks that span rooms: who may import whom.
package nomadvllm

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/nomad-vllm/nomad-vllm/"

// rules lists, for each room, the import path prefixes that its packages and
// everything they depend on must not contain, with the reason.
var rules = []struct {
	room      string
	forbidden []string
	except    []string
	why       string
}{
	{"pd", []string{module, "github.com/", "golang.org/x/"}, []string{module + "pd"},
		"the contract is standard library only, so that every room can share it"},
	{"fleet", []string{module}, []string{module + "fleet", module + "pd"},
		"fleet knows who is there and nothing of requests"},
	{"vllm", []string{module, "github.com/hashicorp/"}, []string{module + "vllm", module + "pd"},
		"vllm is what the engine reads and writes, for any room"},
	{"sim", []string{module}, []string{module + "sim", module + "pd"},
		"a parser shared with the router or with vllm would share its bugs"},
	{"driver", []string{module}, []string{module + "driver", module + "vllm", module + "pd"},
		"the driver starts servers and knows nothing of routing or scaling"},
	{"jobspec", []string{module}, []string{module + "jobspec", module + "vllm", module + "pd"},
		"job files are text; checking them needs no running part"},
	{"router", []string{module}, []string{module + "router", module + "fleet", module + "vllm", module + "pd"},
		"a room never asks the room upstream"},
	{"autoscale", []string{module}, []string{module + "autoscale", module + "fleet", module + "vllm", module + "pd"},
		"a room never asks the room upstream"},
	{"dev", []string{module, "github.com/hashicorp/nomad"},
		[]string{module + "dev", module + "examples", module + "fleet", module + "pd", "github.com/hashicorp/nomad/api"},
		"the development cluster runs the parts as processes, as a real one does"},
	{"bench", []string{module}, []string{module + "bench"},
		"the benchmark measures routers from outside, as processes; a mock that shared their code would share their mistakes"},
	{"cmd/pd-router", []string{"github.com/hashicorp/nomad"}, []string{"github.com/hashicorp/nomad/api"},
		"the router must carry no code under the Business Source License"},
	{"cmd/vllm-sim", []string{"github.com/hashicorp/nomad", "github.com/hashicorp/consul"}, nil,
		"the simulator stands in for vllm, which knows neither"},
	{"plugin/nomad-autoscaler-vllm", []string{"github.com/hashicorp/nomad"},
		[]string{"github.com/hashicorp/nomad/api", "github.com/hashicorp/nomad-autoscaler"},
		"the autoscaler plugin must carry no code under the Business Source License"},
	{"cmd/nomad-vllm", []string{"github.com/hashicorp/nomad"}, []string{"github.com/hashicorp/nomad/api", "github.com/hashicorp/nomad/jobspec2"},
		"the tool must carry no code under the Business Source License"},
}

func TestImports_followTheHouse(t *testing.T) {
	for _, r := range rules {
		t.Run(r.room, func(t *testing.T) {
			t.Parallel()
			out, err := exec.Command("go", "list", "-deps", "./"+r.room+"/...").CombinedOutput()
			require.NoErrorf(t, err, "%s", out)
			deps := strings.Fields(string(out))
			require.NotEmpty(t, deps)
			for _, dep := range deps {
				if under(dep, r.forbidden) && !under(dep, r.except) {
					t.Errorf("%s depends on %s: %s", r.room, dep, r.why)
				}
			}
		})
	}
}

// under reports whether the import path is one of the given ones or inside one.
func under(path string, prefixes []string) bool {
	for _, p := range prefixes {
		if path == strings.TrimSuffix(p, "/") || strings.HasPrefix(path, strings.TrimSuffix(p, "/")+"/") {
			return true
		}
	}
	return false
}

// owners says, for libraries that only some rooms may import directly, which.
var owners = []struct{ library, rooms string }{
	{"github.com/hashicorp/consul/api", "fleet dev"},
	{"github.com/hashicorp/nomad/jobspec2", "jobspec"},
	{"github.com/hashicorp/nomad/api", "jobspec dev"},
	{"github.com/hashicorp/nomad", "driver plugin"}, // under the BUSL
	{"github.com/hashicorp/nomad-autoscaler", "autoscale plugin"},
	{"github.com/hashicorp/hcl/v2", "jobspec cmd"},
	{"github.com/hashicorp/cli", "cmd"},
	{"github.com/prometheus/client_golang", "router driver"},
	{"gopkg.in/yaml.v3", "vllm driver"},
}

func TestLibraries_areImportedByTheirOwnersOnly(t *testing.T) {
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, "./...").CombinedOutput()
	require.NoErrorf(t, err, "%s", out)
	used := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		room, _, _ := strings.Cut(strings.TrimPrefix(f[0], module), "/")
		for _, dep := range f[1:] {
			for _, o := range owners { // the first that fits: the most special comes first
				if !under(dep, []string{o.library}) {
					continue
				}
				used[o.library] = true
				if !strings.Contains(" "+o.rooms+" ", " "+room+" ") {
					t.Errorf("%s imports %s, which is for %s only", f[0], dep, o.rooms)
				}
				break
			}
		}
	}
	for _, o := range owners {
		if !used[o.library] {
			t.Errorf("nobody imports %s: is its rule still about anything?", o.library)
		}
	}
}
