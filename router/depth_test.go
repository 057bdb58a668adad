package router

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

func TestQueueDepth_isByModelAndRole(t *testing.T) {
	world := newEngines(t)
	pa, da, b, rest := world.start(), world.start(), world.start(), world.start()
	r := newRig(t, inst("pa", pa.URL, pd.RolePrefill, serves("a")), inst("da", da.URL, pd.RoleDecode, serves("a")),
		inst("b", b.URL, pd.RoleBoth, serves("b")), inst("rest", rest.URL, pd.RoleDecode, serves("")))
	depth := func(model, role string) float64 {
		return r.metric("pd_router_queue_depth", "model", model, "role", role)
	}
	for _, model := range []string{"a", "b", ""} {
		require.Equal(t, 0.0, depth(model, "prefill")+depth(model, "decode"), "model %q is there from the start", model)
	}
	answers := make(chan reply, 5)
	ask := func(model string) { answers <- r.post(cmplPath, `{"model":"`+model+`","prompt":"x"}`) }
	arrived, letGo := held(pa)
	for range 3 {
		go ask("a")
	}
	for range 3 {
		wait(t, arrived)
	}
	require.Equal(t, 3.0, depth("a", "prefill"))
	require.Equal(t, 0.0, depth("a", "decode"))

	r.source.set(inst("b", b.URL, pd.RoleBoth, serves("b")))
	arrivedB, letGoB := held(b)
	go ask("b")
	wait(t, arrivedB)
	require.Equal(t, 1.0, depth("b", "decode"))
	require.Equal(t, 0.0, depth("b", "prefill"))
	require.Equal(t, -1.0, depth("a", "prefill"), "a model that is gone leaves no series")
	close(letGo)
	close(letGoB)
	for range 4 {
		require.Equal(t, 200, (<-answers).StatusCode)
	}
	require.Equal(t, 0.0, depth("b", "decode"))
}
