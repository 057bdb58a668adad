package jobspec

import (
	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/vllm"
)

// Service describes a prefill/decode service, as much of it as differs from
// one cluster to the next. ParseService fills in the defaults.
type Service struct {
	// Name is the Nomad job's name, the label of the service block.
	Name string `hcl:"name,label"`
	// Model is the name or path that vLLM loads and that clients send. Required.
	Model string `hcl:"model"`
	// Compat gates pairing (pd.MetaCompat). Default "v1".
	Compat string `hcl:"compat,optional"`
	// Datacenters where the job may run. Default all, ["*"].
	Datacenters []string `hcl:"datacenters,optional"`
	// ConsulService is the name that the servers register under. Default pd.DefaultService.
	ConsulService string `hcl:"consul_service,optional"`
	// Connector is vLLM's KV connector. Default NixlConnector.
	Connector string `hcl:"connector,optional"`
	// EngineArgs are vLLM arguments of both roles. Default none.
	EngineArgs []string `hcl:"engine_args,optional"`

	Prefill  *Group    `hcl:"prefill,block"`  // required
	Decode   *Group    `hcl:"decode,block"`   // required
	Router   *Router   `hcl:"router,block"`   // default: every field its own
	Timeouts *Timeouts `hcl:"timeouts,block"` // default: every field its own
}

// Group describes the servers of one role.
type Group struct {
	Count     int      `hcl:"count"`               // to start with, and the least that the autoscaler leaves; at least 1
	Max       int      `hcl:"max,optional"`        // the most that the autoscaler makes; default Count
	GPUs      int      `hcl:"gpus,optional"`       // per server; default 1
	GPUMemory string   `hcl:"gpu_memory,optional"` // least memory of each GPU, "79 GiB" for example; default no constraint
	CPU       int      `hcl:"cpu,optional"`        // MHz per server; default 4000
	Memory    int      `hcl:"memory,optional"`     // MiB of host memory per server; default 32768
	Args      []string `hcl:"args,optional"`       // vLLM arguments of this role, after EngineArgs
}

// Router describes the router's group.
type Router struct {
	Port    int    `hcl:"port,optional"`    // of the OpenAI API on the router's node; default 8000
	Service string `hcl:"service,optional"` // Consul service name; default "pd-router"
	CPU     int    `hcl:"cpu,optional"`     // MHz; default 1000
	Memory  int    `hcl:"memory,optional"`  // MiB; default 512
}

// Timeouts are what Nomad must wait for. They are Go durations.
type Timeouts struct {
	// Load covers the start of a server to its first good health check, model
	// download included. Default "10m".
	Load string `hcl:"load,optional"`
	// Drain is how long a stopping server may finish what it is writing.
	// Default "20s".
	Drain string `hcl:"drain,optional"`
	// Lease is how long a prefill keeps KV that no decode has asked for.
	// Default: vLLM's own, 30s.
	Lease string `hcl:"lease,optional"`
}

// newService is a Service with every default that does not depend on another field.
func newService() Service {
	return Service{
		Compat:        "v1",
		Datacenters:   []string{"*"},
		ConsulService: pd.DefaultService,
		Connector:     vllm.NixlConnector,
		Prefill:       newGroup(),
		Decode:        newGroup(),
		Router:        &Router{Port: 8000, Service: "pd-router", CPU: 1000, Memory: 512},
		Timeouts:      &Timeouts{Load: "10m", Drain: "20s"},
	}
}

func newGroup() *Group { return &Group{GPUs: 1, CPU: 4000, Memory: 32768} }
