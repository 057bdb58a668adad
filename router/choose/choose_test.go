package choose

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/fleet"
)

func instances(ids ...string) []*fleet.Instance {
	var out []*fleet.Instance
	for _, id := range ids {
		out = append(out, &fleet.Instance{ID: id, URL: "http://" + id})
	}
	return out
}

func blocksOf(seed uint64, text []byte) []uint64 {
	blocks, _ := Blocks(nil, seed, text)
	return blocks
}

// prompt is a request for some text of that many bytes, which begins with
// the name.
func prompt(name string, bytes int) *Request {
	text := name + strings.Repeat("x", bytes-len(name))
	return &Request{Bytes: bytes, Blocks: blocksOf(Seed("m"), []byte(text))}
}

// clock is a time that stands still until it is moved.
type clock struct{ now time.Time }

func newClock() *clock                   { return &clock{time.Unix(1e9, 0)} }
func (c *clock) read() time.Time         { return c.now }
func (c *clock) forward(d time.Duration) { c.now = c.now.Add(d) }

func TestPrefill_goesWhereThePrefixIs(t *testing.T) {
	c := New(Config{})
	all := instances("a", "b", "c", "d")
	for n := range 20 {
		r := prompt(fmt.Sprint("conversation ", n), 8<<10)
		first, release := c.Prefill(all, r)
		release()
		longer := prompt(fmt.Sprint("conversation ", n), 12<<10)
		again, release := c.Prefill(all, longer)
		release()
		require.Equal(t, first.ID, again.ID)
	}
}

func TestPrefill_queueOutweighsThePrefix(t *testing.T) {
	c := New(Config{})
	all := instances("a", "b")
	r := prompt("shared", 8<<10)
	holder, release := c.Prefill(all, r)
	release()
	// 40 KiB of other work wait at the holder: 8 KiB cached is not worth that.
	_, busy := c.Prefill([]*fleet.Instance{holder}, prompt("other", 40<<10))
	other, release := c.Prefill(all, r)
	release()
	require.NotEqual(t, holder.ID, other.ID)
	busy()
	again, release := c.Prefill(all, prompt("shared", 8<<10))
	release()
	require.Contains(t, []string{"a", "b"}, again.ID)
	require.Zero(t, c.Of(holder).PrefillBytes)
}

func TestPrefill_routersAgreeWithoutTalking(t *testing.T) {
	one, two := New(Config{}), New(Config{})
	all := instances("a", "b", "c", "d", "e")
	count := map[string]int{}
	for n := range 200 {
		r := prompt(fmt.Sprint("system prompt ", n), 6<<10)
		x, done1 := one.Prefill(all, r)
		y, done2 := two.Prefill(all, r)
		done1()
		done2()
		require.Equal(t, x.ID, y.ID, "a prefix is placed alike by routers that know nothing of each other")
		count[x.ID]++
	}
	for _, i := range all {
		require.Greater(t, count[i.ID], 15, "and the prefixes spread over the pool: %v", count)
	}
}

func TestPrefill_whenOneLeavesOnlyItsPrefixesMove(t *testing.T) {
	all := instances("a", "b", "c", "d")
	for n := range 100 {
		r := prompt(fmt.Sprint("p", n), 6<<10)
		before, _ := New(Config{}).Prefill(all, r)
		after, _ := New(Config{}).Prefill(all[:3], r)
		if before.ID != "d" {
			require.Equal(t, before.ID, after.ID)
		}
	}
}

func TestPrefill_countsOnlyWhatMustBeComputed(t *testing.T) {
	c := New(Config{})
	a := instances("a")
	_, release := c.Prefill(a, prompt("p", 8<<10))
	require.EqualValues(t, 8<<10, c.Of(a[0]).PrefillBytes)
	release()
	_, release = c.Prefill(a, prompt("p", 10<<10))
	require.EqualValues(t, 2<<10, c.Of(a[0]).PrefillBytes)
	release()
	require.Equal(t, Load{}, c.Of(a[0]).Load)
}

func TestRestarted_forgetsThePrefixes(t *testing.T) {
	clk := newClock()
	c := New(Config{Now: clk.read, SlowStart: 10 * time.Second})
	a := instances("a")
	r := prompt("p", 8<<10)
	_, release := c.Prefill(a, r)
	release()
	n, who := c.Uncached(a, r)
	require.Zero(t, n)
	require.Equal(t, "a", who.ID)
	require.EqualValues(t, 1, c.Of(a[0]).Share)
	clk.forward(time.Minute)
	by := prompt("by", 4<<10)
	c.Restarted(a[0], by)
	n, _ = c.Uncached(a, r)
	require.Equal(t, 8<<10, n)
	n, _ = c.Uncached(a, by)
	require.Zero(t, n)
	require.InDelta(t, 0.1, c.Of(a[0]).Share, 0.001)
	clk.forward(5 * time.Second)
	require.InDelta(t, 0.5, c.Of(a[0]).Share, 0.001)
}

func TestDecode_leastLoadedAndSpread(t *testing.T) {
	c := New(Config{})
	all := instances("a", "b", "c", "d")
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() { c.Decode(all, &Request{}) })
	}
	wg.Wait()
	for _, i := range all {
		require.InDelta(t, 10, c.Of(i).Decodes, 2, "simultaneous requests see one another")
	}
}

func TestDecode_reportsOfOtherRoutersCountAndFade(t *testing.T) {
	clk := newClock()
	c := New(Config{Now: clk.read})
	all := instances("a", "b")
	c.Reported(all[0], Report{Waiting: 10})
	for range 8 {
		i, _ := c.Decode(all, &Request{})
		require.Equal(t, "b", i.ID, "ten that wait there are somebody else's")
	}
	clk.forward(reportLife)
	i, _ := c.Decode(all, &Request{})
	require.Equal(t, "a", i.ID, "an old report says nothing")
}

func TestDecode_ownWaitingIsNotCountedTwice(t *testing.T) {
	c := New(Config{})
	all := instances("a", "b")
	for range 10 {
		c.Decode(all[:1], &Request{})
		c.Decode(all[1:], &Request{})
	}
	c.Reported(all[0], Report{Waiting: 5}) // of our own ten
	require.InDelta(t, c.of(all[1]).decodeCost(time.Now()), c.of(all[0]).decodeCost(time.Now()), 0.001)
}

func TestDecode_avoidsAFullCache(t *testing.T) {
	c := New(Config{})
	all := instances("full", "free")
	for range 10 {
		c.Decode(all[:1], &Request{})
		c.Decode(all[1:], &Request{})
	}
	c.Reported(all[0], Report{KVUsage: 0.97})
	c.Reported(all[1], Report{KVUsage: 0.3})
	for range 5 {
		i, _ := c.Decode(all, &Request{})
		require.Equal(t, "free", i.ID)
	}
}

func TestTwoRouters_doNotHerd(t *testing.T) {
	// Both see the same reports, and no requests of one another.
	all := instances("a", "b", "c", "d", "e", "f", "g", "h")
	dice := func(seed uint64) Config { return Config{Intn: rand.New(rand.NewPCG(seed, 0)).IntN} }
	one, two := New(dice(1)), New(dice(2))
	count := map[string]int{}
	for range 100 {
		for _, c := range []*Chooser{one, two} {
			for _, i := range all {
				c.Reported(i, Report{Waiting: float64(count[i.ID])})
			}
		}
		x, _ := one.Decode(all, &Request{})
		y, _ := two.Decode(all, &Request{})
		count[x.ID]++
		count[y.ID]++
	}
	for _, i := range all {
		require.InDelta(t, 25, count[i.ID], 12, "%v", count)
	}
}

func TestWeights_shareTheLoad(t *testing.T) {
	c := New(Config{})
	all := instances("a", "b")
	c.SetWeight(all[0], 3)
	for range 80 {
		c.Decode(all, &Request{})
	}
	require.InDelta(t, 60, c.Of(all[0]).Decodes, 4)
}

func TestKeep_forgetsWhoLeft(t *testing.T) {
	clk := newClock()
	c := New(Config{Now: clk.read, SlowStart: 10 * time.Second})
	all := instances("a", "b")
	c.Keep(fleet.NewSnapshot(instances("a", "b"), clk.now))
	_, release := c.Decode(all[1:], prompt("p", 4<<10))
	_, done := c.Prefill(all[:1], prompt("p", 4<<10))
	done()
	c.Keep(fleet.NewSnapshot(nil, clk.now))
	require.Zero(t, c.Of(all[0]).Blocks)
	require.Equal(t, 1, c.Of(all[1]).Decodes, "what is in flight there still counts")
	release()
	c.Keep(fleet.NewSnapshot(nil, clk.now))
	require.Empty(t, c.known)
	require.Empty(t, c.index.instances)

	clk.forward(time.Minute)
	c.Keep(fleet.NewSnapshot(instances("new"), clk.now))
	require.InDelta(t, 0.1, c.Of(instances("new")[0]).Share, 0.001, "who comes later starts slowly")
	require.EqualValues(t, 1, c.Of(all[0]).Share)
}

func TestNobody_isNoChoice(t *testing.T) {
	c := New(Config{})
	p, release := c.Prefill(nil, prompt("p", 1<<10))
	release()
	d, release := c.Decode(nil, &Request{})
	release()
	require.Nil(t, p)
	require.Nil(t, d)
	_, who := c.Uncached(nil, &Request{})
	require.Nil(t, who)
}
