package choose

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParsePolicy_namesTheChoices(t *testing.T) {
	for _, p := range Policies() {
		got, err := ParsePolicy(string(p))
		require.NoError(t, err)
		require.Equal(t, p, got)
	}
	p, err := ParsePolicy("")
	require.NoError(t, err)
	require.Equal(t, Auto, p)
	_, err = ParsePolicy("cache_aware")
	require.EqualError(t, err, `policy "cache_aware": want one of auto, least_loaded, power_of_two, round_robin, session`)
}

func TestRoundRobin_takesTurns(t *testing.T) {
	c := New(Config{Decode: RoundRobin})
	got := ""
	for range 6 {
		i, _ := c.Decode(instances("a", "b", "c"), &Request{})
		got += i.ID
	}
	require.Equal(t, "abcabc", got)
}

func TestLeastLoaded_ignoresThePrefix(t *testing.T) {
	c := New(Config{Prefill: LeastLoaded})
	all := instances("a", "b")
	for range 10 {
		c.Prefill(all, prompt("same", 8<<10))
	}
	require.Equal(t, 5, c.Of(all[0]).Prefills)
}

func TestPowerOfTwo_avoidsTheLoaded(t *testing.T) {
	c := New(Config{Decode: PowerOfTwo})
	all := instances("a", "b", "c", "d")
	for range 400 {
		c.Decode(all, &Request{})
	}
	for _, i := range all {
		require.InDelta(t, 100, c.Of(i).Decodes, 6)
	}
	one, _ := c.Decode(all[:1], &Request{})
	require.Equal(t, "a", one.ID)
}

func TestSession_staysWhereItIs(t *testing.T) {
	c := New(Config{Decode: Session})
	all := instances("a", "b", "c", "d")
	count := map[string]int{}
	for n := range 40 {
		r := &Request{Session: fmt.Sprint("s", n)}
		first, release := c.Decode(all, r)
		release()
		for range 3 {
			again, release := c.Decode(all, r)
			release()
			require.Equal(t, first.ID, again.ID)
		}
		count[first.ID]++
	}
	require.Len(t, count, 4)
}

func TestSession_oneSessionCannotDrownAnInstance(t *testing.T) {
	c := New(Config{Decode: Session})
	all := instances("a", "b", "c", "d")
	for range 100 {
		c.Decode(all, &Request{Session: "greedy"})
	}
	for _, i := range all {
		require.LessOrEqual(t, c.Of(i).Decodes, 33)
	}
}
