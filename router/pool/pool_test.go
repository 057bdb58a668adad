package pool

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
)

func inst(id string, role pd.Role, model, compat, unusable string) *fleet.Instance {
	return &fleet.Instance{ID: id, URL: "http://" + id, Role: role, Meta: pd.Meta{Model: model, Compat: compat}, Unusable: unusable}
}

func ids(instances []*fleet.Instance) []string {
	out := []string{}
	for _, i := range instances {
		out = append(out, i.ID)
	}
	return out
}

func table(instances ...*fleet.Instance) *Table {
	return NewTable(fleet.NewSnapshot(instances, time.Now()), nil)
}

func TestView_poolsByRoleModelAndCompat(t *testing.T) {
	v := table(
		inst("p1", pd.RolePrefill, "a", "1", ""), inst("p2", pd.RolePrefill, "a", "2", ""), inst("p3", pd.RolePrefill, "b", "1", ""),
		inst("d1", pd.RoleDecode, "a", "1", ""), inst("d2", pd.RoleDecode, "a", "3", ""), inst("d3", pd.RoleDecode, "a", "1", "critical"),
		inst("x", pd.RoleBoth, "a", "1", ""), inst("odd", "", "a", "1", "bad role"),
	).View("a")
	require.Equal(t, []string{"p1", "p2", "x"}, ids(v.Prefills))
	require.Equal(t, []string{"d1", "d2", "x"}, ids(v.Decodes))
	require.Equal(t, []string{"d3", "odd"}, ids(v.Unusable))
	require.Equal(t, []string{"p1", "x"}, ids(v.Pairable()))
	require.Equal(t, []string{"d1", "x"}, ids(v.DecodesFor(v.Prefills[0])))
	require.Equal(t, []string{"d1"}, ids(v.DecodesFor(v.Prefills[2])), "never itself")
	require.Empty(t, v.DecodesFor(v.Prefills[1]))
}

func TestView_modelsAndWhoServesAny(t *testing.T) {
	tb := table(inst("any", pd.RoleDecode, "", "", ""), inst("b", pd.RoleDecode, "b", "", ""), inst("a", pd.RoleDecode, "a", "", "critical"))
	require.Equal(t, []string{"a", "b"}, tb.Models())
	require.Equal(t, []string{"any"}, ids(tb.View("a").Decodes))
	require.Equal(t, []string{"any", "b"}, ids(tb.View("").Decodes))
	require.True(t, tb.View("zzz").Known(), "whoever names no model serves any")
	require.False(t, table(inst("b", pd.RoleDecode, "b", "", "")).View("a").Known())
}

func TestWithout_leavesOut(t *testing.T) {
	all := []*fleet.Instance{inst("a", "", "", "", ""), inst("b", "", "", "", "")}
	require.Equal(t, []string{"b"}, ids(Without(all, "a", "zzz")))
	require.Equal(t, []string{"a", "b"}, ids(Without(all)))
}
