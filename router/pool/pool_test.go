package pool

import (
	"sync"
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
	return NewTable(fleet.NewSnapshot(instances, time.Now()))
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

func TestLeastLoaded_breaksTiesEvenly(t *testing.T) {
	first := func(int) int { return 1 }
	require.Equal(t, 2, leastLoaded([]int64{5, 3, 1, 2}, first))
	require.Equal(t, 0, leastLoaded([]int64{1, 1, 1}, first))
	l := NewLoads(nil)
	count := make([]int, 4)
	for range 4000 {
		count[leastLoaded([]int64{7, 2, 2, 2}, l.intn)]++
	}
	require.Zero(t, count[0])
	for _, n := range count[1:] {
		require.InDelta(t, 1333, n, 250)
	}
}

func TestLoads_countInAndOut(t *testing.T) {
	a, b := inst("a", "", "", "", ""), inst("b", "", "", "", "")
	both := []*fleet.Instance{a, b}
	l := NewLoads(func(int) int { return 1 }) // ties go to the first
	p1, done1 := l.Prefill(both, 100)
	p2, done2 := l.Prefill(both, 10)
	p3, done3 := l.Prefill(both, 10)
	require.Equal(t, []string{"a", "b", "b"}, ids([]*fleet.Instance{p1, p2, p3}), "bytes decide, not requests")
	require.Equal(t, Load{Prefills: 2, PrefillBytes: 20}, l.Of(b))

	d, doneD := l.Decode(both)
	require.Equal(t, "a", d.ID, "a prefill's load is not a decode's")
	require.Equal(t, Load{Prefills: 1, PrefillBytes: 100, Decodes: 1}, l.Of(a))
	again := *a // the same instance in a later snapshot
	require.Equal(t, 1, l.Of(&again).Decodes)
	again.URL = "http://elsewhere"
	require.Zero(t, l.Of(&again), "the same ID at another address is another server")

	done1()
	done2()
	done3()
	doneD()
	require.Empty(t, l.m, "nothing is kept of an idle instance")
	none, release := l.Decode(nil)
	require.Nil(t, none)
	release()
}

func TestLoads_spreadSimultaneousRequests(t *testing.T) {
	var all []*fleet.Instance
	for _, id := range []string{"a", "b", "c", "d"} {
		all = append(all, inst(id, "", "", "", ""))
	}
	l := NewLoads(nil)
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() { l.Decode(all) })
	}
	wg.Wait()
	for _, i := range all {
		require.Equal(t, 10, l.Of(i).Decodes)
	}
}
