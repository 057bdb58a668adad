package main

import (
	"testing"

	"github.com/hashicorp/hcl/v2/hclparse"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/nomad-autoscaler/agent/config"
	"github.com/hashicorp/nomad-autoscaler/plugins/apm"
	"github.com/hashicorp/nomad-autoscaler/plugins/strategy"
	"github.com/stretchr/testify/require"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/nomad-vllm/nomad-vllm/autoscale/signal"
	vllmpd "github.com/nomad-vllm/nomad-vllm/autoscale/strategy"
)

// loadsTheExample gives the example's configuration to the agent's own parser
// and starts the plugins that it names, with the configuration that it gives.
func loadsTheExample(t *testing.T, path string) {
	agent, err := config.Load("../../examples/hcl/autoscaler.hcl")
	require.NoError(t, err)
	require.NoError(t, agent.Validate())
	require.Len(t, agent.APMs, 1)
	require.Equal(t, "vllm", agent.APMs[0].Name)
	require.Len(t, agent.Strategies, 1)
	require.Equal(t, "vllm-pd", agent.Strategies[0].Name)
	for _, p := range append(agent.APMs, agent.Strategies...) {
		require.Equal(t, name, p.Driver)
		require.Len(t, p.Args, 1)
	}
	dispense(t, path, agent.APMs[0].Args[0], &apm.PluginAPM{}, agent.APMs[0].Config)
	dispense(t, path, agent.Strategies[0].Args[0], &strategy.PluginStrategy{}, agent.Strategies[0].Config)
}

// The job file's scaling blocks are opaque to Nomad: a mistake in them shows
// only in the autoscaler's log, minutes after the job was run.
func TestExampleJob_scalingBlocksAreWhatThePluginsTake(t *testing.T) {
	file, diags := hclparse.NewParser().ParseHCLFile("../../examples/hcl/pd.nomad.hcl")
	require.False(t, diags.HasErrors(), diags.Error())
	groups := map[string]bool{}
	for _, job := range blocks(file.Body.(*hclsyntax.Body), "job") {
		for _, group := range blocks(job.Body, "group") {
			for _, policy := range nested(group.Body, "scaling", "policy") {
				for _, check := range blocks(policy.Body, "check") {
					require.Equal(t, "vllm", text(t, check.Body)["source"])
					q, err := signal.ParseQuery(text(t, check.Body)["query"])
					require.NoError(t, err)
					require.Equal(t, group.Labels[0], q.Group, "a group is scaled by its own signals")
					require.Equal(t, job.Labels[0], q.Job)
					strategies := blocks(check.Body, "strategy")
					require.Len(t, strategies, 1)
					require.Equal(t, []string{"vllm-pd"}, strategies[0].Labels)
					_, err = vllmpd.ParseRules(text(t, strategies[0].Body), text(t, check.Body)["query"])
					require.NoError(t, err, "group %s, check %s", group.Labels[0], check.Labels[0])
					groups[group.Labels[0]] = true
				}
			}
		}
	}
	require.Equal(t, map[string]bool{"prefill": true, "decode": true}, groups)
}

func blocks(body *hclsyntax.Body, kind string) []*hclsyntax.Block {
	var found []*hclsyntax.Block
	for _, b := range body.Blocks {
		if b.Type == kind {
			found = append(found, b)
		}
	}
	return found
}

func nested(body *hclsyntax.Body, outer, inner string) []*hclsyntax.Block {
	var found []*hclsyntax.Block
	for _, b := range blocks(body, outer) {
		found = append(found, blocks(b.Body, inner)...)
	}
	return found
}

// text is a block's attributes as the autoscaler hands them on: strings.
func text(t *testing.T, body *hclsyntax.Body) map[string]string {
	out := map[string]string{}
	for key, a := range body.Attributes {
		v, diags := a.Expr.Value(nil)
		require.False(t, diags.HasErrors(), diags.Error())
		s, err := convert.Convert(v, cty.String)
		require.NoError(t, err)
		out[key] = s.AsString()
	}
	return out
}
