package fleet

import (
	"context"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

// start runs the watcher until the test ends and proves that Run comes back.
func start(t *testing.T, c *Consul) {
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	stop := errors.New("test over")
	t.Cleanup(func() {
		cancel(stop)
		select {
		case err := <-done:
			require.ErrorIs(t, err, stop)
		case <-time.After(5 * time.Second):
			t.Error("Run did not return")
		}
	})
}

func eventually(t *testing.T, cond func() bool, msg string) {
	t.Helper()
	require.Eventually(t, cond, 5*time.Second, 2*time.Millisecond, msg)
}

func ids(s *Snapshot) []string {
	out := []string{}
	if s != nil {
		for _, i := range s.Instances {
			out = append(out, i.ID)
		}
	}
	return out
}

func hasIDs(c *Consul, want ...string) func() bool {
	return func() bool {
		s := c.Snapshot()
		got := ids(s)
		if s == nil || len(got) != len(want) {
			return false
		}
		for i := range want {
			if got[i] != want[i] {
				return false
			}
		}
		return true
	}
}

func TestConsul_followsChanges(t *testing.T) {
	f := newFakeConsul(t)
	f.put("vllm", entry("n1", "a", "prefill"))
	c := newConsul(t, f)
	require.Nil(t, c.Snapshot(), "nothing is known before Run")
	start(t, c)
	<-c.Changed()
	require.Equal(t, []string{"n1/a"}, ids(c.Snapshot()))

	f.put("vllm", entry("n1", "a", "prefill"), entry("n2", "a", "decode"))
	<-c.Changed()
	require.Equal(t, []string{"n1/a", "n2/a"}, ids(c.Snapshot()), "the same service ID on two nodes is two instances")
	i := c.Snapshot().Instances[1]
	require.Equal(t, "http://10.0.0.7:23145", i.URL)
	require.Equal(t, pd.RoleDecode, i.Role)
	require.Equal(t, "m", i.Meta.Model)
	require.True(t, i.Usable())

	for _, q := range f.queries() {
		require.False(t, q.passing, "critical instances must be seen")
		require.True(t, q.stale)
	}
}

func TestConsul_sameAnswerIsNoChange(t *testing.T) {
	f := newFakeConsul(t)
	f.put("vllm", entry("n1", "a", "prefill"))
	c := newConsul(t, f)
	start(t, c)
	<-c.Changed()
	first := c.Snapshot()

	f.put("vllm", entry("n1", "a", "prefill")) // the index moves, the content does not
	eventually(t, func() bool { return c.Snapshot().At.After(first.At) }, "At must be refreshed")
	require.Same(t, first.Instances[0], c.Snapshot().Instances[0])
	select {
	case <-c.Changed():
		t.Fatal("told of a change that was none")
	default:
	}
}

func TestConsul_indexGoingBackwardsIsFollowed(t *testing.T) {
	f := newFakeConsul(t)
	f.set(func() { f.index = 500; f.entries["vllm"] = []*api.ServiceEntry{entry("n1", "a", "prefill")} })
	c := newConsul(t, f)
	start(t, c)
	eventually(t, hasIDs(c, "n1/a"), "first answer")

	f.set(func() { f.index = 3; f.entries["vllm"] = []*api.ServiceEntry{entry("n1", "b", "prefill")} })
	eventually(t, hasIDs(c, "n1/b"), "the answer with the lower index")
	eventually(t, func() bool {
		qs := f.queries()
		return qs[len(qs)-1].index == 3
	}, "waits on the new count")
	reset := false
	for _, q := range f.queries()[1:] {
		reset = reset || q.index == 0
	}
	require.True(t, reset, "a lower index starts over from 0")
}

func TestConsul_errorKeepsTheLastGoodView(t *testing.T) {
	f := newFakeConsul(t)
	f.put("vllm", entry("n1", "a", "prefill"))
	c := newConsul(t, f)
	start(t, c)
	eventually(t, hasIDs(c, "n1/a"), "first answer")

	f.set(func() { f.fail = http.StatusInternalServerError; f.entries["vllm"] = nil })
	eventually(t, func() bool { return c.LastError() != nil }, "the failure is known")
	at := c.Snapshot().At
	require.Equal(t, []string{"n1/a"}, ids(c.Snapshot()))
	require.ErrorContains(t, c.LastError(), "No cluster leader")

	f.set(func() { f.fail = 0; f.entries["vllm"] = []*api.ServiceEntry{entry("n1", "b", "prefill")} })
	eventually(t, hasIDs(c, "n1/b"), "recovers")
	require.NoError(t, c.LastError())
	require.True(t, c.Snapshot().At.After(at))
}

func TestConsul_unreachableLeavesNoSnapshot(t *testing.T) {
	f := newFakeConsul(t)
	c := newConsul(t, f)
	f.Close()
	start(t, c)
	eventually(t, func() bool { return c.LastError() != nil }, "the failure is known")
	require.Nil(t, c.Snapshot())
	_, err := c.Fetch(t.Context())
	require.ErrorContains(t, err, `read service "vllm" from consul`)
}

func TestConsul_emptyIsConfirmedByTheLeader(t *testing.T) {
	f := newFakeConsul(t)
	f.put("vllm", entry("n1", "a", "prefill"))
	c := newConsul(t, f)
	start(t, c)
	eventually(t, hasIDs(c, "n1/a"), "first answer")

	f.put("vllm")
	eventually(t, hasIDs(c), "scaled to nothing")
	asked := false
	for _, q := range f.queries() {
		asked = asked || !q.stale
	}
	require.True(t, asked, "an empty answer is asked of the leader before it is believed")
}

func TestConsul_emptyByACLIsAnError(t *testing.T) {
	f := newFakeConsul(t)
	f.put("vllm", entry("n1", "a", "prefill"))
	c := newConsul(t, f)
	start(t, c)
	eventually(t, hasIDs(c, "n1/a"), "first answer")
	f.set(func() { f.filtered = true; f.entries["vllm"] = nil; f.index++ })
	eventually(t, func() bool { return c.LastError() != nil }, "the failure is known")
	require.ErrorContains(t, c.LastError(), "service and node read")
	require.Equal(t, []string{"n1/a"}, ids(c.Snapshot()))
}

func TestConsul_staleServerIsNotBelieved(t *testing.T) {
	f := newFakeConsul(t)
	f.set(func() { f.stale = time.Minute })
	f.put("vllm", entry("n1", "a", "prefill"))
	_, err := newConsul(t, f).Fetch(t.Context())
	require.NoError(t, err)
	qs := f.queries()
	require.Len(t, qs, 2)
	require.True(t, qs[0].stale)
	require.False(t, qs[1].stale)
}

func TestConsul_severalServicesMakeOneSnapshot(t *testing.T) {
	f := newFakeConsul(t)
	f.put("p", entry("n1", "a", "prefill"))
	f.put("d", entry("n1", "b", "decode"))
	c := newConsul(t, f, "p", "d")
	start(t, c)
	eventually(t, hasIDs(c, "n1/a", "n1/b"), "both")
	f.put("p")
	eventually(t, hasIDs(c, "n1/b"), "one service's emptiness leaves the other alone")
}

func TestConsul_fetchReadsOnce(t *testing.T) {
	f := newFakeConsul(t)
	f.put("vllm", entry("n2", "b", "both"), entry("n1", "a", "prefill"))
	c := newConsul(t, f)
	s, err := c.Fetch(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"n1/a", "n2/b"}, ids(s))
	require.Nil(t, c.Snapshot(), "Fetch leaves the watch's view alone")
	require.Len(t, f.queries(), 1)
	require.Zero(t, f.queries()[0].index)
}

func TestConsul_fetchFailsWhole(t *testing.T) {
	f := newFakeConsul(t)
	f.set(func() { f.fail = http.StatusForbidden })
	_, err := newConsul(t, f, "p", "d").Fetch(t.Context())
	require.ErrorContains(t, err, `read service "p" from consul`)
}

func TestNewConsul_refusesAnEmptyName(t *testing.T) {
	_, err := NewConsul(ConsulConfig{Services: []string{"a", ""}}, hclog.NewNullLogger())
	require.ErrorContains(t, err, "service name is empty")
}

func TestBackoff_growsAndIsCapped(t *testing.T) {
	for n, most := range map[int]time.Duration{1: 375 * time.Millisecond, 3: 1125 * time.Millisecond, 9: backoffMax + backoffMin, 1000: backoffMax + backoffMin} {
		for range 50 {
			d := backoff(n)
			require.GreaterOrEqual(t, d, backoffMin/2)
			require.LessOrEqual(t, d, most)
		}
	}
}
