package jobspec

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

var (
	jobName     = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_-]{0,62}$`)
	consulName  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	memoryLimit = regexp.MustCompile(`^[1-9][0-9]{0,8} (MiB|GiB|MB|GB)$`)
)

// Ports that a router may listen on.
const minPort, maxPort = 1, 65535

// checker collects the problems of one service description. Positions come
// from the file, so that a message about a default points at the block that
// lacks the key.
type checker struct {
	service *hclsyntax.Block
	diags   hcl.Diagnostics
}

// validate checks every value and how they fit together. It returns all problems.
func validate(s *Service, block *hclsyntax.Block) hcl.Diagnostics {
	c := &checker{service: block}
	c.want(jobName.MatchString(s.Name), "", "", "name %q; want letters, digits, - and _, at most 63", s.Name)
	c.want(strings.TrimSpace(s.Model) == s.Model && s.Model != "", "", "model", "model %q; want a model name or a path on the node", s.Model)
	c.want(s.Compat != "", "", "compat", "compat %q; want any text, %q for example", s.Compat, "v1")
	c.want(len(s.Datacenters) > 0, "", "datacenters", "datacenters is empty; want at least one, [\"*\"] for all")
	c.want(consulName.MatchString(s.ConsulService), "", "consul_service", "consul_service %q; want lower-case letters, digits and -", s.ConsulService)
	c.want(slices.Contains(DriverConnectors(), s.Connector), "", "connector",
		"connector %q; want %s, which the driver sets up%s", s.Connector, strings.Join(DriverConnectors(), " or "), DidYouMean(s.Connector, DriverConnectors()))
	c.args("", "engine_args", s.EngineArgs)
	c.group("prefill", s.Prefill, s.EngineArgs)
	c.group("decode", s.Decode, s.EngineArgs)
	c.router(s)
	c.timeouts(s)
	return c.diags
}

func (c *checker) group(name string, g *Group, common []string) {
	c.want(g.Count >= 1, name, "count", "count %d; want at least 1", g.Count)
	c.want(g.Max >= g.Count, name, "max", "max %d is less than count %d; raise max", g.Max, g.Count)
	c.want(g.GPUs >= 1, name, "gpus", "gpus %d; want at least 1", g.GPUs)
	c.want(g.CPU >= 100, name, "cpu", "cpu %d MHz; want at least 100", g.CPU)
	c.want(g.Memory >= 1024, name, "memory", "memory %d MiB; want at least 1024 (host memory, in MiB)", g.Memory)
	c.want(g.GPUMemory == "" || memoryLimit.MatchString(g.GPUMemory), name, "gpu_memory",
		"gpu_memory %q; want a number and a unit, \"79 GiB\" for example", g.GPUMemory)
	c.args(name, "args", g.Args)
	all := slices.Concat(common, g.Args)
	used, written, ok := GPUs(nil, all)
	c.want(ok, name, "args", "the arguments' parallel sizes are no positive numbers, or spread a server over nodes; write gpus, and let the driver pass --tensor-parallel-size")
	if ok && written {
		c.want(used == g.GPUs, name, "gpus", "gpus %d, but the arguments' parallel sizes make %d; make them equal, or leave out --tensor-parallel-size, which follows gpus", g.GPUs, used)
	}
}

// args reports arguments that the driver or the renderer writes itself.
func (c *checker) args(block, key string, args []string) {
	for _, a := range args {
		if flag, instead, owned := OwnedFlag(a, func(key string) bool { return key == KVTransferBlock }); owned {
			c.want(false, block, key, "%s in %s; the driver writes it; use %s", flag, key, instead)
		}
		c.want(FlagName(a) != "--shutdown-timeout", block, key, "--shutdown-timeout in %s; use timeouts { drain = ... }, because kill_timeout must fit it", key)
	}
}

func (c *checker) router(s *Service) {
	r := s.Router
	c.want(r.Port >= minPort && r.Port <= maxPort, "router", "port", "port %d; want %d to %d", r.Port, minPort, maxPort)
	c.want(consulName.MatchString(r.Service), "router", "service", "service %q; want lower-case letters, digits and -", r.Service)
	c.want(r.Service != s.ConsulService, "router", "service", "service %q is consul_service too; the router would take itself for a server, so give it another name", r.Service)
	c.want(r.CPU >= 100, "router", "cpu", "cpu %d MHz; want at least 100", r.CPU)
	c.want(r.Memory >= 64, "router", "memory", "memory %d MiB; want at least 64", r.Memory)
}

func (c *checker) timeouts(s *Service) {
	c.duration("load", s.Timeouts.Load, 10*time.Second)
	c.duration("drain", s.Timeouts.Drain, 2*time.Second) // less leaves a kill_timeout that the driver refuses
	if s.Timeouts.Lease != "" {
		c.duration("lease", s.Timeouts.Lease, time.Second)
	}
}

func (c *checker) duration(key, value string, min time.Duration) {
	d, err := time.ParseDuration(value)
	c.want(err == nil && d >= min && d%time.Second == 0, "timeouts", key,
		"%s %q; want whole seconds as a duration, \"90s\" or \"10m\", at least %s", key, value, min)
}

// want reports a problem with service.block.key unless ok. The format holds
// what is wrong and, after a semicolon, the way out.
func (c *checker) want(ok bool, block, key, format string, args ...any) {
	if ok {
		return
	}
	what, mend, _ := strings.Cut(fmt.Sprintf(format, args...), "; ")
	c.diags = append(c.diags, problem(c.at(block, key), what, mend))
}

// at finds where a value was written: the key, or else the block that lacks it.
func (c *checker) at(block, key string) hcl.Range {
	b := c.service
	if block != "" {
		if inner := find(b, block); inner != nil {
			b = inner
		}
	}
	if a := b.Body.Attributes[key]; a != nil {
		return a.Expr.Range()
	}
	return b.DefRange()
}
