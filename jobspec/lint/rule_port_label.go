package lint

import (
	"fmt"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/nomad-vllm/nomad-vllm/jobspec"
)

// checkPortLabels finds labels of ports that the group does not ask for.
func checkPortLabels(j *job, r *reporter) {
	for _, s := range j.servers {
		if !s.ours {
			continue
		}
		port := s.config.attr("port")
		side := s.config.first(jobspec.KVTransferBlock).attr("side_channel_port")
		if !port.set { // the driver's default, "http", must be there all the same
			port = value{v: cty.StringVal(jobspec.DefaultPort), at: s.at(), set: true}
		}
		s.group.checkLabel(r, "port", port)
		s.group.checkLabel(r, "kv_transfer.side_channel_port", side)
		a, okA := port.text()
		b, okB := side.text()
		if okA && okB && a == b {
			r.errorf(side.at, `give the side channel a port of its own, port "nixl" {} for example`,
				"port and side_channel_port are both %q, and only one of the two can listen there", a)
		}
	}
}

func (g *group) checkLabel(r *reporter, key string, v value) {
	label, known := v.text()
	if !known || slices.Contains(g.ports, label) {
		return
	}
	have := "it has no ports"
	if len(g.ports) > 0 {
		have = fmt.Sprintf("have %s", quoted(g.ports))
	}
	r.errorf(v.at, fmt.Sprintf("add port %q {}%s", label, jobspec.DidYouMean(label, g.ports)),
		"%s %q is no port label in the network of group %q (%s)", key, label, g.name, have)
}

// quoted lists names for a message.
func quoted(names []string) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = fmt.Sprintf("%q", n)
	}
	return strings.Join(out, ", ")
}
