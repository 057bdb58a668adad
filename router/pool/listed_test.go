package pool

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
)

// lists says who listed what: base names first, adapters after a "+".
func lists(by map[string][]string) map[fleet.Key]Listed {
	out := map[fleet.Key]Listed{}
	for id, names := range by {
		var l Listed
		for _, name := range names {
			if name[0] == '+' {
				name = name[1:]
			} else {
				l.Bases = append(l.Bases, name)
			}
			l.Names = append(l.Names, name)
		}
		l.Names = sorted(l.Names)
		out[fleet.Key{ID: id, URL: "http://" + id}] = l
	}
	return out
}

func listing(by map[string][]string, instances ...*fleet.Instance) *Table {
	return NewTable(fleet.NewSnapshot(instances, time.Now()), lists(by))
}

func TestListed_anInstanceServesItsModelAndWhatItLists(t *testing.T) {
	tb := listing(map[string][]string{"p": {"alias", "+sql"}, "d1": {"alias", "+sql"}, "d2": {"alias"}},
		inst("p", pd.RolePrefill, "m", "", ""), inst("d1", pd.RoleDecode, "m", "", ""), inst("d2", pd.RoleDecode, "m", "", ""), inst("d3", pd.RoleDecode, "m", "", ""))
	for model, decodes := range map[string][]string{"m": {"d1", "d2", "d3"}, "alias": {"d1", "d2"}, "sql": {"d1"}} {
		v := tb.View(model)
		require.Equal(t, model, v.Model)
		require.Equal(t, []string{"p"}, ids(v.Pairable()), model)
		require.Equal(t, decodes, ids(v.Decodes), model)
		require.Equal(t, decodes, ids(v.DecodesFor(v.Prefills[0])), model)
	}
	require.False(t, tb.View("other").Known())
	require.Equal(t, []string{"alias", "m", "sql"}, tb.Models())
	require.Equal(t, []string{"m"}, tb.Registered())
	require.Equal(t, []string{"m"}, tb.Defaults(), "a request without a model does not mean an adapter")
	require.Equal(t, []string{"alias", "m", "sql"}, tb.Names(tb.Snapshot.Instances[0]))
}

func TestListed_withoutAModelTheListIsWhatIsServed(t *testing.T) {
	heard, mute := inst("heard", pd.RoleDecode, "", "", ""), inst("mute", pd.RoleDecode, "", "", "")
	tb := listing(map[string][]string{"heard": {"b", "a", "+sql"}}, heard, mute)
	require.Equal(t, []string{"heard", "mute"}, ids(tb.View("a").Decodes))
	require.Equal(t, []string{"mute"}, ids(tb.View("zzz").Decodes), "of which nothing is known")
	require.Equal(t, []string{"b"}, tb.Defaults(), "the first, as vLLM has it")
	require.Empty(t, tb.Registered())
	tb = listing(map[string][]string{"heard": {"a"}}, heard)
	require.False(t, tb.View("zzz").Known())
}

func TestListed_pairsHaveOneModelUnderneath(t *testing.T) {
	for name, c := range map[string]struct {
		p, d string // registered for
		by   map[string][]string
		pair bool
	}{
		"registered alike":                   {"m", "m", nil, true},
		"registered apart, adapter in name":  {"m", "n", map[string][]string{"p": {"m", "+x"}, "d": {"n", "+x"}}, false},
		"nothing known":                      {"", "", nil, true},
		"one not heard of":                   {"", "", map[string][]string{"p": {"m", "+x"}}, true},
		"one not heard of, one registered":   {"", "m", map[string][]string{"d": {"m", "+x"}}, false},
		"listed alike in another order":      {"", "", map[string][]string{"p": {"a", "b", "+x"}, "d": {"b", "a", "+x"}}, true},
		"listed apart, adapter in name":      {"", "", map[string][]string{"p": {"a", "+x"}, "d": {"b", "+x"}}, false},
		"one registered, the other lists it": {"m", "", map[string][]string{"p": {"+x"}, "d": {"m", "+x"}}, true},
		"one registered under an alias":      {"alias", "", map[string][]string{"p": {"m", "+x"}, "d": {"m", "+x"}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			tb := listing(c.by, inst("p", pd.RolePrefill, c.p, "", ""), inst("d", pd.RoleDecode, c.d, "", ""))
			require.Equal(t, c.pair, len(tb.View("").Pairable()) == 1)
		})
	}
	tb := listing(map[string][]string{"p": {"m", "+x"}, "d": {"m", "+x"}}, inst("p", pd.RolePrefill, "m", "1", ""), inst("d", pd.RoleDecode, "m", "2", ""))
	require.Empty(t, tb.View("x").Pairable(), "compat counts for adapters too")
}

func TestPrefillOnly_tellsHalfLoadedFromScaledToZero(t *testing.T) {
	by := map[string][]string{"p": {"m", "+sql"}, "d": {"m"}}
	p, d := inst("p", pd.RolePrefill, "m", "", ""), inst("d", pd.RoleDecode, "m", "", "")
	half := listing(by, p, d)
	require.True(t, half.PrefillOnly(half.View("sql")))
	require.False(t, half.PrefillOnly(half.View("m")))
	require.False(t, half.PrefillOnly(half.View("none")))
	alone := listing(by, p, inst("other", pd.RoleDecode, "n", "", ""))
	require.False(t, alone.PrefillOnly(alone.View("sql")), "its decodes are away")
	out := listing(map[string][]string{"p": {"m", "+sql"}, "d": {"m"}, "d2": {"m", "+sql"}}, p, d, inst("d2", pd.RoleDecode, "m", "", "critical"))
	require.False(t, out.PrefillOnly(out.View("sql")), "d2 may come back")
}

func TestNewTable_manyAdaptersShareTheirPairs(t *testing.T) {
	by := map[string][]string{}
	var all []*fleet.Instance
	for n := range 100 {
		p, d := fmt.Sprint("p", n), fmt.Sprint("d", n)
		all = append(all, inst(p, pd.RolePrefill, "m", "", ""), inst(d, pd.RoleDecode, "m", "", ""))
		for a := range 500 {
			by[p], by[d] = append(by[p], fmt.Sprint("+", a)), append(by[d], fmt.Sprint("+", a))
		}
	}
	tb := listing(by, all...)
	one, other := tb.View("0"), tb.View("499")
	require.Len(t, one.Pairable(), 100)
	require.Same(t, &one.Pairable()[0], &other.Pairable()[0], "the table is built while a request waits")
}
