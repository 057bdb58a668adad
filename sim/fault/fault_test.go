package fault_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/sim/fault"
)

func kinds(faults []fault.Fault) []fault.Kind {
	var out []fault.Kind
	for _, f := range faults {
		out = append(out, f.Kind)
	}
	return out
}

func TestScript_countsByFilter(t *testing.T) {
	s, err := fault.Parse("hang@2..3; 503@1/prefill; slow@4..=1.5s; die@*/messages")
	require.NoError(t, err)
	require.Empty(t, s.Next("chat", "local"))
	require.Equal(t, []fault.Kind{fault.Hang, fault.Status}, kinds(s.Next("chat", "prefill")))
	require.Equal(t, []fault.Kind{fault.Hang}, kinds(s.Next("chat", "prefill")))
	hit := s.Next("chat", "local")
	require.Equal(t, []fault.Kind{fault.Slow}, kinds(hit))
	require.Equal(t, 1500*time.Millisecond, hit[0].Delay)
	require.Equal(t, []fault.Kind{fault.Slow, fault.Die}, kinds(s.Next("messages", "local")))
}

func TestScript_replaceCountsAnewAndKeepsTheOldOneOnError(t *testing.T) {
	s, err := fault.Parse("500@1")
	require.NoError(t, err)
	require.Len(t, s.Next("chat"), 1)
	require.Error(t, s.Replace("500@0"))
	require.Equal(t, "500@1", s.Text())
	require.NoError(t, s.Replace("404@1"))
	require.Equal(t, 404, s.Next("chat")[0].Status)
}

func TestParse_namesTheMistake(t *testing.T) {
	for text, says := range map[string]string{
		"die":          `no "@"`,
		"die@":         `when ""`,
		"die@0":        "counted from 1",
		"die@5..2":     "the end is before the start",
		"burn@1":       `kind "burn"`,
		"200@1":        "a status from 400 to 599",
		"slow@1":       "invalid duration",
		"die@1/nobody": `filter "nobody": want one of prefill`,
	} {
		_, err := fault.Parse(text)
		require.ErrorContains(t, err, says, text)
	}
}
