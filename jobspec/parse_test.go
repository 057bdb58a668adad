package jobspec_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/jobspec"
)

const shortest = `service "pd" {
  model = "m"
  prefill { count = 2 }
  decode { count = 3 }
}
`

func TestParseService_fillsInDefaults(t *testing.T) {
	s, err := jobspec.ParseService("service.hcl", []byte(shortest))
	require.NoError(t, err)
	require.Equal(t, jobspec.Service{
		Name: "pd", Model: "m", Compat: "v1", Datacenters: []string{"*"}, ConsulService: "vllm", Connector: "NixlConnector",
		Prefill:  &jobspec.Group{Count: 2, Max: 2, GPUs: 1, CPU: 4000, Memory: 32768},
		Decode:   &jobspec.Group{Count: 3, Max: 3, GPUs: 1, CPU: 4000, Memory: 32768},
		Router:   &jobspec.Router{Port: 8000, Service: "pd-router", CPU: 1000, Memory: 512},
		Timeouts: &jobspec.Timeouts{Load: "10m", Drain: "20s"},
	}, s)
}

func TestParseService_keepsTheDefaultsOfABlockThatSetsOneKey(t *testing.T) {
	s, err := jobspec.ParseService("service.hcl", []byte(strings.Replace(shortest, "prefill {", "router { port = 9000 }\n prefill {", 1)))
	require.NoError(t, err)
	require.Equal(t, &jobspec.Router{Port: 9000, Service: "pd-router", CPU: 1000, Memory: 512}, s.Router)
}

func TestParseService_reportsEveryValueAtOnceWithItsPlace(t *testing.T) {
	_, err := jobspec.ParseService("service.hcl", []byte(`service "p d" {
  model          = ""
  consul_service = "V LLM"
  connector      = "NixlConector"
  engine_args    = ["--port=1", "--shutdown-timeout", "5"]
  prefill {
    count      = 0
    gpus       = 2
    gpu_memory = "80"
    args       = ["--tensor-parallel-size=4"]
  }
  decode {
    count  = 6
    max    = 4
    memory = 32
  }
  router { port = 70000 }
  timeouts {
    load  = "10"
    drain = "500ms"
    lease = "1m1.5s"
  }
}
`))
	require.Error(t, err)
	require.Equal(t, []string{
		`service.hcl:1:1: name "p d"; want letters, digits, - and _, at most 63`,
		`service.hcl:2:20: model ""; want a model name or a path on the node`,
		`service.hcl:3:20: consul_service "V LLM"; want lower-case letters, digits and -`,
		`service.hcl:4:20: connector "NixlConector"; want NixlConnector or NixlPullConnector, which the driver sets up; did you mean "NixlConnector"?`,
		`service.hcl:5:20: --port in engine_args; the driver writes it; use config.port, a port label of the group's network`,
		`service.hcl:5:20: --shutdown-timeout in engine_args; use timeouts { drain = ... }, because kill_timeout must fit it`,
		`service.hcl:7:18: count 0; want at least 1`,
		`service.hcl:9:18: gpu_memory "80"; want a number and a unit, "79 GiB" for example`,
		`service.hcl:8:18: gpus 2, but the arguments' parallel sizes make 4; make them equal, or leave out --tensor-parallel-size, which follows gpus`,
		`service.hcl:14:14: max 4 is less than count 6; raise max`,
		`service.hcl:15:14: memory 32 MiB; want at least 1024 (host memory, in MiB)`,
		`service.hcl:17:19: port 70000; want 1 to 65535`,
		`service.hcl:19:13: load "10"; want whole seconds as a duration, "90s" or "10m", at least 10s`,
		`service.hcl:20:13: drain "500ms"; want whole seconds as a duration, "90s" or "10m", at least 2s`,
		`service.hcl:21:13: lease "1m1.5s"; want whole seconds as a duration, "90s" or "10m", at least 1s`,
	}, strings.Split(err.Error(), "\n"))
}

func TestParseService_reportsWhatTheFileCannotSay(t *testing.T) {
	for name, c := range map[string]struct {
		src  string
		want []string
	}{
		"unknown keys": {
			strings.Replace(shortest, "model", "modle", 1),
			[]string{"service.hcl:1:14: Missing required argument", "service.hcl:2:3: Unsupported argument", `Did you mean "model"?`}},
		"unknown keys in two blocks": {
			"service \"pd\" {\n  model = \"m\"\n  prefill {\n    count = 1\n    gpu = 2\n  }\n  decode {\n    count = 1\n    memmory = 1\n  }\n}\n",
			[]string{"service.hcl:5:5: Unsupported argument", "service.hcl:9:5: Unsupported argument"}},
		"wrong type":   {strings.Replace(shortest, "count = 2", `count = "two"`, 1), []string{"service.hcl:3:22: ", "number"}},
		"no model":     {strings.Replace(shortest, `model = "m"`, "", 1), []string{"service.hcl:1:14: Missing required argument", `"model"`}},
		"no decode":    {strings.Replace(shortest, "decode { count = 3 }", "", 1), []string{"service.hcl:1:1: no decode block", "add decode { count = 1 }"}},
		"two services": {shortest + shortest, []string{"service.hcl:6:1: a second service"}},
		"nothing":      {"", []string{"service.hcl:1:1: no service described"}},
		"not HCL":      {"service {", []string{"service.hcl:1:"}},
		"a variable":   {strings.Replace(shortest, `"m"`, "var.model", 1), []string{"service.hcl:2:11: "}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := jobspec.ParseService("service.hcl", []byte(c.src))
			require.Error(t, err)
			for _, want := range c.want {
				require.Contains(t, err.Error(), want)
			}
		})
	}
}
