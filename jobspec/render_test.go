package jobspec_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/hashicorp/nomad/jobspec2"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/jobspec"
	"github.com/nomad-vllm/nomad-vllm/jobspec/lint"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const examples = "../examples/hcl"

func TestRender_makesTheCommittedExample(t *testing.T) {
	src, err := os.ReadFile(filepath.Join(examples, "pd.service.hcl"))
	require.NoError(t, err)
	s, err := jobspec.ParseService("pd.service.hcl", src)
	require.NoError(t, err)
	got, err := jobspec.Render(s)
	require.NoError(t, err)

	golden := filepath.Join(examples, "pd.nomad.hcl")
	if *update {
		require.NoError(t, os.WriteFile(golden, got, 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got),
		"the example is not what render prints; run go test ./jobspec -update")
}

// valid parses the job file with Nomad's own parser.
func valid(t testing.TB, src []byte) {
	t.Helper()
	_, err := jobspec2.ParseWithConfig(&jobspec2.ParseConfig{Path: "rendered.nomad.hcl", Body: src, Strict: true})
	require.NoErrorf(t, err, "%s", src)
	require.Equal(t, string(hclwrite.Format(src)), string(src), "not as nomad fmt would write it")
}

// rendered parses a description and renders it, and holds the result against
// Nomad's parser, nomad fmt and our own linter.
func rendered(t testing.TB, src string) string {
	t.Helper()
	s, err := jobspec.ParseService("service.hcl", []byte(src))
	require.NoError(t, err)
	out, err := jobspec.Render(s)
	require.NoError(t, err)
	valid(t, out)
	again, err := jobspec.Render(s)
	require.NoError(t, err)
	require.Equal(t, out, again, "the same service must give the same bytes")
	return string(out)
}

func TestRender_isValidAndClean(t *testing.T) {
	for name, src := range map[string]string{
		"shortest": `service "pd" {
			model = "m"
			prefill { count = 1 }
			decode { count = 1 }
		}`,
		"everything": `service "llm_70b" {
			model          = "/srv/models/llama-70b"
			compat         = "0.26/bf16"
			datacenters    = ["eu-1", "eu-2"]
			consul_service = "llm"
			connector      = "NixlPullConnector"
			engine_args    = ["--dtype=bfloat16", "--kv-cache-dtype", "fp8", "--a-long-argument=that makes the list longer than a line"]
			prefill {
				count      = 3
				max        = 9
				gpus       = 4
				gpu_memory = "79 GiB"
				args       = ["--tensor-parallel-size=2", "-pp", "2"]
			}
			decode {
				count  = 1
				gpus   = 8
				cpu    = 64000
				memory = 524288
			}
			router {
				port    = 9000
				service = "llm-router"
			}
			timeouts {
				load  = "1h"
				drain = "15s"
			}
		}`,
		"hostile strings": `service "pd" {
			model       = "a\"b $${NOMAD_JOB_ID} %%{if true} {{ .Name }} \\ # // \n é"
			compat      = "$${var.model}"
			engine_args = ["$${evil}", "{{ q .Model }}"]
			prefill { count = 1 }
			decode { count = 1 }
		}`,
	} {
		t.Run(name, func(t *testing.T) {
			out := rendered(t, src)
			for _, f := range lint.File("rendered.nomad.hcl", []byte(out), lint.Options{Load: time.Minute}) {
				t.Error(f)
			}
		})
	}
}

func TestRender_saysHowTheGPUsAreUsed(t *testing.T) {
	service := func(prefill string) string {
		return `service "pd" {
			model = "m"
			prefill {
				count = 1
				` + prefill + `
			}
			decode { count = 1 }
		}`
	}
	require.NotContains(t, rendered(t, service(``)), "tensor_parallel_size =")
	require.Contains(t, rendered(t, service(`gpus = 4`)), "tensor_parallel_size = 4")
	require.NotContains(t, rendered(t, service("gpus = 4\nargs = [\"-tp=4\"]")), "tensor_parallel_size =")
}

func TestRender_waitsLongerThanALoadAndADrain(t *testing.T) {
	out := rendered(t, `service "pd" {
		model = "m"
		prefill { count = 1 }
		decode { count = 1 }
		timeouts {
			load  = "45m"
			drain = "40s"
		}
	}`)
	for _, want := range []string{`healthy_deadline  = "45m"`, `progress_deadline = "50m"`, `grace = "45m"`, `kill_timeout = "1m"`, `"-drain-timeout", "50s",`} {
		require.Contains(t, out, want)
	}
}

// The driver's two thirds of kill_timeout are never less than the drain asked for.
func TestRender_leavesTheDrainThatWasAskedFor(t *testing.T) {
	for _, drain := range []int{2, 3, 5, 20, 61, 600} {
		out := rendered(t, fmt.Sprintf(`service "pd" {
			model = "m"
			prefill { count = 1 }
			decode { count = 1 }
			timeouts { drain = "%ds" }
		}`, drain))
		m := regexp.MustCompile(`kill_timeout += "(.*?)"`).FindAllStringSubmatch(out, -1)
		require.Len(t, m, 5, "of both tasks and their config, and the router")
		for _, kill := range m {
			require.Equal(t, m[0][1], kill[1])
		}
		kill, err := time.ParseDuration(m[0][1])
		require.NoError(t, err)
		require.Equal(t, drain, int(kill*2/3/time.Second))
		finish, err := time.ParseDuration(regexp.MustCompile(`"-drain-timeout", "(.*?)"`).FindStringSubmatch(out)[1])
		require.NoError(t, err)
		require.Less(t, finish, kill)
	}
}

// The router would send a decode to KV that is gone if it did not know the lease.
func TestRender_publishesTheLease(t *testing.T) {
	service := func(timeouts string) string {
		return rendered(t, `service "pd" {
			model = "m"
			prefill { count = 1 }
			decode { count = 1 }
			`+timeouts+`
		}`)
	}
	require.NotContains(t, service(""), "lease")
	out := service(`timeouts { lease = "2m" }`)
	require.Equal(t, 2, strings.Count(out, `lease             = "120s"`))
	require.Equal(t, 2, strings.Count(out, `pd_kv_lease          = "120"`))
}

func FuzzRender_whatParsesRendersToAValidJob(f *testing.F) {
	example, err := os.ReadFile(filepath.Join(examples, "pd.service.hcl"))
	require.NoError(f, err)
	f.Add(string(example))
	f.Add("service \"pd\" {\n model = \"m $${x}\"\n prefill {\n count = 1\n }\n decode {\n count = 2\n gpu_memory = \"1 MB\"\n }\n}\n")
	f.Fuzz(func(t *testing.T, src string) {
		s, err := jobspec.ParseService("service.hcl", []byte(src))
		if err != nil {
			return
		}
		out, err := jobspec.Render(s)
		require.NoError(t, err)
		valid(t, out)
	})
}
