package lint

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

// routerCommand is the router's binary.
const routerCommand = "pd-router"

// checkRouterService finds servers that the job's routers do not watch, which
// is what is left behind when the service was renamed in one place. A job may
// hold several routers; one that watches a server is enough.
func checkRouterService(j *job, r *reporter) {
	var watched []string
	var at hcl.Range
	found := false
	for _, g := range j.groups {
		for _, t := range g.tasks {
			config := t.first("config")
			command, _ := config.attr("command").text()
			if path.Base(command) != routerCommand {
				continue
			}
			names, where, known := watchedServices(config)
			if !known {
				return
			}
			if !found {
				found, at = true, where
			}
			watched = append(watched, names...)
		}
	}
	if !found {
		return
	}
	said := map[string]bool{}
	for _, s := range j.servers {
		if s.service == nil {
			continue
		}
		name, known := s.service.attr("name").text()
		if !known || strings.Contains(name, "${") || slices.Contains(watched, name) || said[name] {
			continue
		}
		said[name] = true
		r.errorf(at, fmt.Sprintf("pass \"-consul-service\", %q", name),
			"the router watches the service %s, and the servers of group %q register as %q", quoted(watched), s.group.name, name)
	}
}

// watchedServices are a router's -consul-service values, and where the first
// stands. known is false if they cannot be told, or if it does not ask Consul.
func watchedServices(config node) (names []string, at hcl.Range, known bool) {
	args := config.arguments("args")
	at = args.all
	for i, a := range args.items {
		if !strings.HasPrefix(a, "-") {
			continue
		}
		flag, value, joined := strings.Cut(strings.TrimLeft(a, "-"), "=")
		if flag == "prefill" || flag == "decode" {
			return nil, at, false
		}
		if flag != "consul-service" {
			continue
		}
		where := args.at[i]
		if !joined && i+1 < len(args.items) {
			value, where = args.items[i+1], args.at[i+1]
		}
		if len(names) == 0 {
			at = where
		}
		for part := range strings.SplitSeq(value, ",") {
			if part = strings.TrimSpace(part); part != "" {
				names = append(names, part)
			}
		}
	}
	if len(names) == 0 {
		names = []string{pd.DefaultService}
	}
	return names, at, args.whole && !strings.Contains(strings.Join(names, ","), "${")
}
