package apm

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/autoscale/signal"
	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
)

func query(t *testing.T, s string) signal.Query {
	q, err := signal.ParseQuery(s)
	require.NoError(t, err)
	return q
}

func member(id, group, job, namespace, unusable string) *fleet.Instance {
	return &fleet.Instance{ID: id, Meta: pd.Meta{Group: group, Job: job, Namespace: namespace}, Unusable: unusable}
}

func TestUsable_picksTheGroupsServingInstances(t *testing.T) {
	s := fleet.NewSnapshot([]*fleet.Instance{
		member("p0", "prefill", "pd", "default", ""),
		member("p1", "prefill", "pd", "", ""),
		member("p2", "prefill", "pd", "default", "check \"health\" is critical: 503"),
		member("p3", "prefill", "pd", "ml", ""),
		member("p4", "prefill", "other", "default", ""),
		member("d0", "decode", "pd", "default", ""),
	}, time.Time{})
	for in, want := range map[string][]string{
		"queue_depth/prefill/pd":         {"p0", "p1"},
		"queue_depth/prefill/pd@default": {"p0", "p1"},
		"queue_depth/prefill/pd@ml":      {"p3"},
		"queue_depth/prefill/other":      {"p4"},
		"queue_depth/decode/pd":          {"d0"},
	} {
		got, err := usable(s, query(t, in))
		require.NoError(t, err, in)
		var ids []string
		for _, i := range got {
			ids = append(ids, i.ID)
		}
		require.Equal(t, want, ids, in)
	}
}

func TestUsable_saysWhyThereIsNobody(t *testing.T) {
	q := query(t, "queue_depth/prefill/pd")
	_, err := usable(fleet.NewSnapshot(nil, time.Time{}), q)
	require.EqualError(t, err, `no instance of "prefill/pd@default", nor of any other group`)

	_, err = usable(fleet.NewSnapshot([]*fleet.Instance{member("d0", "decode", "pd", "", ""), member("d1", "decode", "pd", "", "")}, time.Time{}), q)
	require.EqualError(t, err, `no instance of "prefill/pd@default", but there is "decode/pd@default"`)

	var loading []*fleet.Instance
	for n := range 6 {
		loading = append(loading, member(fmt.Sprintf("p%d", n), "prefill", "pd", "", "check \"health\" is critical: refused"))
	}
	_, err = usable(fleet.NewSnapshot(loading, time.Time{}), q)
	require.ErrorContains(t, err, `none of the 6 instances of "prefill/pd@default" is usable: p0: check "health" is critical: refused; p1:`)
	require.ErrorContains(t, err, "and 2 more")
}
