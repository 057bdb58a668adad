package pd_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

func TestRoleFromTags_readsTheOneRole(t *testing.T) {
	for _, c := range []struct {
		name string
		tags []string
		want pd.Role
	}{
		{"prefill", []string{"pd.role=prefill"}, pd.RolePrefill},
		{"decode among others", []string{"v1", "pd.role=decode", "traefik.enable=true"}, pd.RoleDecode},
		{"both", []string{"pd.role=both"}, pd.RoleBoth},
		{"said twice", []string{"pd.role=both", "pd.role=both"}, pd.RoleBoth},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := pd.RoleFromTags(c.tags)
			require.NoError(t, err)
			require.Equal(t, c.want, got)
			again, err := pd.RoleFromTags([]string{got.Tag()})
			require.NoError(t, err)
			require.Equal(t, got, again)
		})
	}
}

func TestRoleFromTags_saysWhatIsWrong(t *testing.T) {
	_, err := pd.RoleFromTags([]string{"v1"})
	require.ErrorIs(t, err, pd.ErrNoRole)
	_, err = pd.RoleFromTags([]string{"pd.role=prefil"})
	require.ErrorContains(t, err, `tag "pd.role=prefil": role "prefil": want one of "prefill", "decode", "both"`)
	_, err = pd.RoleFromTags([]string{"pd.role=prefill", "pd.role=decode"})
	require.ErrorContains(t, err, `"pd.role=prefill" and "pd.role=decode" contradict each other`)
}

func TestRole_legs(t *testing.T) {
	require.True(t, pd.RolePrefill.Prefills())
	require.False(t, pd.RolePrefill.Decodes())
	require.False(t, pd.RoleDecode.Prefills())
	require.True(t, pd.RoleDecode.Decodes())
	require.True(t, pd.RoleBoth.Prefills() && pd.RoleBoth.Decodes())
}

func TestMeta_roundTrip(t *testing.T) {
	in := pd.Meta{
		Model: "m", Connector: "NixlConnector", EngineVersion: "0.32.0", Compat: "v1",
		Job: "pd", Group: "prefill", Namespace: "default", Alloc: "a1", SideChannelPort: 5600, DPSize: 4, KVLease: 45 * time.Second,
	}
	out, err := pd.ParseMeta(in.Map())
	require.NoError(t, err)
	require.Equal(t, in, out)
}

func TestParseMeta_ignoresUnknownKeysAndDefaults(t *testing.T) {
	got, err := pd.ParseMeta(map[string]string{"team": "search", "pd_later": "x"})
	require.NoError(t, err)
	require.Equal(t, pd.Meta{DPSize: 1}, got)
}

func TestParseMeta_namesEveryBadValue(t *testing.T) {
	_, err := pd.ParseMeta(map[string]string{"pd_side_channel_port": "70000", "pd_dp_size": "two"})
	require.ErrorContains(t, err, `meta pd_side_channel_port = "70000": want a whole number from 1 to 65535`)
	require.ErrorContains(t, err, `meta pd_dp_size = "two": want a whole number from 1 to 1024`)
}

func TestReasons_areDistinctAndComplete(t *testing.T) {
	seen := map[pd.Reason]bool{}
	for _, r := range pd.Reasons() {
		require.NotEmpty(t, r)
		require.False(t, seen[r], "%s twice", r)
		seen[r] = true
	}
}

func FuzzParseMeta_neverPanicsAndRoundTrips(f *testing.F) {
	f.Add("5600", "2", "pd.role=prefill")
	f.Add("-1", "", "pd.role=")
	f.Fuzz(func(t *testing.T, port, dp, tag string) {
		if m, err := pd.ParseMeta(map[string]string{pd.MetaSideChannelPort: port, pd.MetaDPSize: dp}); err == nil {
			again, err := pd.ParseMeta(m.Map())
			require.NoError(t, err)
			require.Equal(t, m, again)
		}
		if r, err := pd.RoleFromTags([]string{tag}); err == nil {
			require.Equal(t, tag, r.Tag())
		}
	})
}
