package lint

import (
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/nomad-vllm/nomad-vllm/jobspec"
	"github.com/nomad-vllm/nomad-vllm/pd"
)

// job is a job file as the rules see it.
type job struct {
	node
	id      string
	groups  []*group
	servers []*server
	opts    Options
}

// group is a task group, or a task that stands alone in its job.
type group struct {
	node
	job      *job
	name     string
	ports    []string // labels of its network's ports
	services []*service
	tasks    []*task
}

// task is one task of a group.
type task struct {
	node
	name   string
	driver string
}

// service is a service block of a group or of one of its tasks.
type service struct {
	node
	tags     []string
	wholeTag bool // no tag is unknown
	meta     map[string]value
	metaAt   hcl.Range
}

// server is what the contract is about: a task of our driver, or a group whose
// service says that it is one (vLLM under docker or raw_exec, for example).
type server struct {
	group   *group
	task    *task
	ours    bool    // the task's driver is ours, so config is our schema
	config  node    // its config block, if it is a block
	role    pd.Role // "" if it cannot be known
	roleAt  hcl.Range
	args    arguments
	service *service // the one with a role tag, or the only one; nil if neither
}

// newJob reads the syntax tree; nil if the file holds no job.
func newJob(body *hclsyntax.Body, scope *hcl.EvalContext, opts Options) *job {
	root := node{body: body, scope: scope}.first("job")
	if !root.present() {
		return nil
	}
	j := &job{node: root, id: root.label(), opts: opts}
	if id, ok := root.attr("id").text(); ok {
		j.id = id
	}
	for _, n := range root.blocks("group") {
		j.groups = append(j.groups, newGroup(j, n, n.blocks("task")))
	}
	for _, n := range root.blocks("task") {
		j.groups = append(j.groups, newGroup(j, n, []node{n}))
	}
	for _, g := range j.groups {
		j.servers = append(j.servers, g.servers()...)
	}
	return j
}

func newGroup(j *job, n node, tasks []node) *group {
	g := &group{node: n, job: j, name: n.label()}
	for _, network := range n.blocks("network") {
		for _, port := range network.blocks("port") {
			g.ports = append(g.ports, port.label())
		}
	}
	owners := tasks
	if len(tasks) != 1 || tasks[0].at != n.at {
		owners = append([]node{n}, tasks...)
	}
	for _, owner := range owners {
		for _, s := range owner.blocks("service") {
			g.services = append(g.services, newService(s))
		}
	}
	for _, t := range tasks {
		driver, _ := t.attr("driver").text()
		g.tasks = append(g.tasks, &task{node: t, name: t.label(), driver: driver})
	}
	return g
}

func newService(n node) *service {
	s := &service{node: n}
	s.tags, s.wholeTag = n.attr("tags").list()
	s.meta, s.metaAt, _ = n.table("meta")
	return s
}

// roleTags are the tags that claim a role.
func (s *service) roleTags() (out []string) {
	for _, t := range s.tags {
		if strings.HasPrefix(t, pd.TagPrefix) {
			out = append(out, t)
		}
	}
	return out
}

// servers finds the group's vLLM servers.
func (g *group) servers() (out []*server) {
	for _, t := range g.tasks {
		if t.driver == jobspec.DriverName {
			out = append(out, g.ownServer(t))
		}
	}
	if len(out) > 0 || len(g.tasks) == 0 {
		return out
	}
	for _, s := range g.services {
		if len(s.roleTags()) == 0 {
			continue
		}
		role, _ := pd.RoleFromTags(s.tags)
		t := g.tasks[0]
		config := t.first("config")
		return []*server{{group: g, task: t, config: config, role: role,
			roleAt: s.attr("tags").at, args: config.arguments("args"), service: s}}
	}
	return nil
}

func (g *group) ownServer(t *task) *server {
	s := &server{group: g, task: t, ours: true, config: t.first("config")}
	role := s.config.attr("role")
	s.roleAt = role.at
	if !role.set {
		s.role = pd.Role(jobspec.DefaultRole)
	} else if text, ok := role.text(); ok {
		s.role, _ = pd.ParseRole(text)
	}
	s.args = s.config.arguments("args")
	s.service = g.serviceOf(s)
	return s
}

// serviceOf is the service that registers a server: the one with a role tag,
// else the one on the server's port, else the only one.
func (g *group) serviceOf(server *server) *service {
	for _, s := range g.services {
		if len(s.roleTags()) > 0 {
			return s
		}
	}
	if label, ok := server.port(); ok {
		for _, s := range g.services {
			if l, ok := s.attr("port").text(); ok && l == label {
				return s
			}
		}
	}
	if len(g.services) == 1 {
		return g.services[0]
	}
	return nil
}

// port is the label of the server's HTTP port; ok is false if it cannot be known.
func (s *server) port() (label string, ok bool) {
	v := s.config.attr("port")
	if !v.set && s.ours {
		return jobspec.DefaultPort, true
	}
	return v.text()
}

// gpus is how many GPUs vLLM uses; ok is false if that cannot be known.
func (s *server) gpus() (n int, ok bool) {
	typed := map[string]int{}
	for _, key := range []string{"tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"} {
		if v := s.config.attr(key); v.set {
			size, known := v.number()
			if !known || size < 1 {
				return 0, false
			}
			typed[key] = size
		}
	}
	n, _, ok = jobspec.GPUs(typed, s.args.items)
	return n, ok && s.args.whole
}

// at is where a finding about the whole server points: its config block, else its task.
func (s *server) at() hcl.Range {
	if s.config.present() {
		return s.config.at
	}
	return s.task.at
}

// setting is a block that a group inherits from its job, attribute by
// attribute: update, for example.
func (g *group) setting(block, name string) value {
	if v := g.first(block).attr(name); v.set {
		return v
	}
	if v := g.job.first(block).attr(name); v.set {
		return v
	}
	at := g.at
	if b := g.first(block); b.present() {
		at = b.at
	} else if b := g.job.first(block); b.present() {
		at = b.at
	}
	return value{at: at}
}
