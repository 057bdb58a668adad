package driver

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/vllm"
)

// situation is everything that decides how a task is launched. It is data, so
// that the decision can be tested without a Nomad, a GPU or a process.
type situation struct {
	Task    TaskConfig
	Command string // the engine's, unless the task brings its own
	Ports   []port
	Env     map[string]string // the task's environment as Nomad built it
	GPUs    gpus
	// NodeGPUs is how many GPUs the node has, looked at only if none is reserved.
	NodeGPUs  int
	Resources resources
	// Ulimit and UlimitMax are the node's.
	Ulimit, UlimitMax map[string]string
	Root              bool // the driver has root's rights
	// Versions are those of the engine's packages, by the names in the node's
	// attributes; what is not in it is not known.
	Versions map[string]string
	// LMCacheVersion is the one in the plugin's config; empty: not set.
	LMCacheVersion string
	// DenyArgs are the flags that the node's operator forbids.
	DenyArgs []string
	// DenyUnlimitedMemory is his ban on tasks without a memory limit.
	DenyUnlimitedMemory bool
	// SecretsDir is the task's directory that others cannot read: files go there.
	SecretsDir string
	// Brought are the files that the job names as a connector's own, as found.
	Brought map[string]broughtFile
}

// port is one of the group's ports, as Nomad has assigned it.
type port struct {
	Label  string
	HostIP string
	Number int
}

func (p port) address() string { return net.JoinHostPort(p.HostIP, strconv.Itoa(p.Number)) }

// plan is how a task is launched.
type plan struct {
	Argv []string
	Env  map[string]string
	// Files are written before the engine starts, for its user only.
	Files  []file
	Bounds bounds
	// Wants must be there before the engine starts.
	Wants wants
	// Notes are for the user to read: one task event each.
	Notes []string
}

// newPlan decides, or returns every mistake at once.
func newPlan(s situation) (plan, error) {
	b := &builder{situation: s, plan: plan{Env: maps.Clone(s.Env)}}
	if b.plan.Env == nil {
		b.plan.Env = map[string]string{}
	}
	b.serve()
	b.sizes()
	b.drain()
	b.bounds()
	b.fail(b.engineV1())
	b.transfer()
	b.environment()
	b.plan.Argv = append(b.plan.Argv, s.Task.Args...)
	b.knownBad()
	b.forbidden()
	b.plan.Wants = wants{Paths: b.paths(), Hosts: b.hosts()}
	return b.plan, errors.Join(b.problems...)
}

// builder collects a plan and what speaks against it.
type builder struct {
	situation
	plan
	problems []error
	// What the known-bad table looks at besides: see knownbad_when.go.
	used            []usedConnector
	lmcacheGiven    string         // the version that the block says
	lmcacheSettings map[string]any // of LMCache's file
	ignoredKeys     error          // those of them that its version does not read
}

func (b *builder) fail(err error) {
	if err != nil {
		b.problems = append(b.problems, err)
	}
}

func (b *builder) flag(name, value string) { b.Argv = append(b.Argv, name, value) }

// serve writes the part that every server has: COMMAND serve MODEL --host --port.
func (b *builder) serve() {
	t := b.Task
	command := t.Command
	if command == "" {
		command = b.Command
	}
	b.Argv = []string{command, "serve", t.Model}
	if t.Model == "" {
		b.fail(errors.New(`model: not set; add model = "meta-llama/Llama-3.1-8B-Instruct" for example`))
	}
	if strings.HasPrefix(t.Model, "-") {
		b.fail(fmt.Errorf("model %q: the engine would take it for a flag; name a model, and write flags in args", t.Model))
	}
	b.fail(b.ownedArgs())
	p, err := b.port("port", t.Port)
	b.fail(err)
	b.flag("--host", p.HostIP)
	b.flag("--port", strconv.Itoa(p.Number))
}

// port finds a port by its label; setting is what names it, for the message.
func (b *builder) port(setting, label string) (port, error) {
	if label == "" {
		return port{}, fmt.Errorf(`%s: not set; name a port label of the group's network (have %s)`, setting, b.portLabels())
	}
	i := slices.IndexFunc(b.Ports, func(p port) bool { return p.Label == label })
	if i < 0 {
		return port{}, fmt.Errorf("%s %q: no such port label in the group's network (have %s); add port %q {}",
			setting, label, b.portLabels(), label)
	}
	return b.Ports[i], nil
}

func (b *builder) portLabels() string {
	var labels []string
	for _, p := range b.Ports {
		labels = append(labels, strconv.Quote(p.Label))
	}
	if len(labels) == 0 {
		return "none"
	}
	slices.Sort(labels)
	return strings.Join(labels, ", ")
}

// transfer writes --kv-transfer-config and what belongs to it.
func (b *builder) transfer() {
	role, err := pd.ParseRole(b.Task.Role)
	if err != nil {
		b.fail(err)
		role = pd.RoleBoth // so that the rest is checked as well
	}
	kv := b.Task.KVTransfer
	if kv == nil {
		if _, own := findArg(b.Task.Args, "--kv-transfer-config"); role != pd.RoleBoth && !own {
			b.fail(fmt.Errorf("role %q without a kv_transfer block: the server could not hand KV over; add kv_transfer { connector = %q ... } or set role = %q",
				role, vllm.NixlConnector, pd.RoleBoth))
		}
		return
	}
	cfg := b.connector(role, kv)
	value, err := cfg.JSON()
	b.fail(err)
	b.flag("--kv-transfer-config", value)
}

// kvRole is the role in vLLM's words, or the override if it can serve the role.
func kvRole(role pd.Role, override string) (vllm.KVRole, error) {
	byRole := map[pd.Role]vllm.KVRole{
		pd.RolePrefill: vllm.KVProducer, pd.RoleDecode: vllm.KVConsumer, pd.RoleBoth: vllm.KVBoth,
	}[role]
	if override == "" {
		return byRole, nil
	}
	r, err := vllm.ParseKVRole(override)
	if err != nil {
		return "", inBlock(err)
	}
	if r != byRole && r != vllm.KVBoth {
		return "", fmt.Errorf("kv_transfer.kv_role %q contradicts role %q, which is %q; drop kv_role or change the role", r, role, byRole)
	}
	return r, nil
}

func inBlock(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("kv_transfer.%w", err)
}

// ucxCache is off unless the job sets it. With it, a decode keeps the memory of
// a dead prefill of its host mapped, and the next one finds its GPU full; the
// cost is some milliseconds a transfer.
const ucxCache = "UCX_CUDA_IPC_CACHE"

// environment adds what vLLM reads from there. What the job sets itself wins,
// except where only the driver can know.
func (b *builder) environment() {
	for k, v := range map[string]string{
		"PYTHONHASHSEED":      "0", // prefix hashes must agree between instances
		"VLLM_NO_USAGE_STATS": "1",
		"DO_NOT_TRACK":        "1",
	} {
		if _, set := b.plan.Env[k]; !set {
			b.plan.Env[k] = v
		}
	}
	if b.GPUs.Reserved() {
		b.plan.Env["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
		b.plan.Env["CUDA_VISIBLE_DEVICES"] = b.GPUs.Visible
		if _, set := b.plan.Env[ucxCache]; !set && b.Task.KVTransfer != nil {
			b.plan.Env[ucxCache] = "n"
		}
	}
}
