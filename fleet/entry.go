package fleet

import (
	"errors"
	"net"
	"strconv"
	"strings"

	"github.com/hashicorp/consul/api"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

// instances types Consul's answer. Entries without a role tag are other
// people's services under the same name and are left out.
func (c *Consul) instances(entries []*api.ServiceEntry) []*Instance {
	out := make([]*Instance, 0, len(entries))
	for _, e := range entries {
		if e.Service == nil || e.Node == nil {
			continue
		}
		i, ok := instance(e)
		if !ok {
			c.logger.Trace("no role tag, ignored", "node", e.Node.Node, "service_id", e.Service.ID, "tags", e.Service.Tags)
			continue
		}
		out = append(out, i)
	}
	return out
}

// instance types one entry; false if it is not part of a prefill/decode
// deployment. Whatever is wrong with it makes it Unusable, with the reason.
func instance(e *api.ServiceEntry) (*Instance, bool) {
	role, err := pd.RoleFromTags(e.Service.Tags)
	if errors.Is(err, pd.ErrNoRole) {
		return nil, false
	}
	// Service IDs are unique per Consul agent only, so the node is part of the key.
	i := &Instance{ID: e.Node.Node + "/" + e.Service.ID, Role: role}
	var problems []string
	if err != nil {
		problems = append(problems, err.Error())
	}
	if i.Meta, err = pd.ParseMeta(e.Service.Meta); err != nil {
		problems = append(problems, strings.Split(err.Error(), "\n")...)
	}
	host := e.Service.Address
	if host == "" {
		host = e.Node.Address
	}
	switch {
	case host == "":
		problems = append(problems, "registered without an address")
	case e.Service.Port <= 0 || e.Service.Port > 65535:
		problems = append(problems, "registered with port "+strconv.Itoa(e.Service.Port)+"; give the service a port label")
	default:
		i.URL = "http://" + net.JoinHostPort(host, strconv.Itoa(e.Service.Port))
	}
	problems = append(problems, checkProblems(e.Checks)...)
	i.Unusable = strings.Join(problems, "; ")
	return i, true
}

// checkProblems says why the checks forbid new requests. A warning check does
// not: Consul itself goes on routing to such an instance.
func checkProblems(checks api.HealthChecks) []string {
	var problems []string
	for _, c := range checks {
		switch {
		case c.CheckID == api.NodeMaint:
			problems = append(problems, "node in maintenance: "+brief(c.Notes))
		case strings.HasPrefix(c.CheckID, api.ServiceMaintPrefix):
			problems = append(problems, "in maintenance: "+brief(c.Notes))
		case c.Status == api.HealthPassing, c.Status == api.HealthWarning:
		default:
			problems = append(problems, "check "+strconv.Quote(c.Name)+" is "+c.Status+": "+brief(c.Output))
		}
	}
	return problems
}

// brief cuts a check's output down to what fits a status line.
func brief(s string) string {
	const most = 160
	s = strings.Join(strings.Fields(s), " ")
	switch {
	case s == "":
		return "no output"
	case len(s) > most:
		return strings.ToValidUTF8(s[:most], "") + "..."
	}
	return s
}
