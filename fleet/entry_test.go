package fleet

import (
	"strings"
	"testing"

	"github.com/hashicorp/consul/api"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

func TestInstance_unusableSaysWhy(t *testing.T) {
	check := func(id, status, output, notes string) func(*api.ServiceEntry) {
		return func(e *api.ServiceEntry) {
			e.Checks = append(e.Checks, &api.HealthCheck{CheckID: id, Name: "x", Status: status, Output: output, Notes: notes})
		}
	}
	cases := map[string]struct {
		change func(*api.ServiceEntry)
		want   string // "" for usable
	}{
		"healthy":             {func(*api.ServiceEntry) {}, ""},
		"warning":             {check("c", api.HealthWarning, "slow", ""), ""},
		"no checks":           {func(e *api.ServiceEntry) { e.Checks = nil }, ""},
		"critical":            {check("c", api.HealthCritical, "dial tcp:\n  connection refused", ""), `check "x" is critical: dial tcp: connection refused`},
		"long output":         {check("c", api.HealthCritical, strings.Repeat("é", 500), ""), "..."},
		"unknown status":      {check("c", "strange", "", ""), `check "x" is strange: no output`},
		"node maintenance":    {check(api.NodeMaint, api.HealthCritical, "", "new disk"), "node in maintenance: new disk"},
		"service maintenance": {check(api.ServiceMaintPrefix+"a", api.HealthCritical, "", "drained"), "in maintenance: drained"},
		"bad meta":            {func(e *api.ServiceEntry) { e.Service.Meta["pd_dp_size"] = "many" }, `meta pd_dp_size = "many"`},
		"bad role":            {func(e *api.ServiceEntry) { e.Service.Tags = []string{"pd.role=cook"} }, `role "cook"`},
		"two roles":           {func(e *api.ServiceEntry) { e.Service.Tags = append(e.Service.Tags, "pd.role=decode") }, "contradict"},
		"no port":             {func(e *api.ServiceEntry) { e.Service.Port = 0 }, "registered with port 0"},
		"no address":          {func(e *api.ServiceEntry) { e.Service.Address, e.Node.Address = "", "" }, "registered without an address"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			i, ok := instance(entry("n", "a", "prefill", c.change))
			require.True(t, ok)
			if c.want == "" {
				require.Empty(t, i.Unusable)
				return
			}
			require.Contains(t, i.Unusable, c.want)
			require.NotContains(t, i.Unusable, "\n", "a reason is one line")
		})
	}
}

func TestInstance_reportsEveryProblem(t *testing.T) {
	i, _ := instance(entry("n", "a", "prefill", func(e *api.ServiceEntry) {
		e.Service.Port = 0
		e.Service.Meta["pd_dp_size"], e.Service.Meta["pd_side_channel_port"] = "x", "y"
	}))
	for _, want := range []string{"pd_dp_size", "pd_side_channel_port", "port 0"} {
		require.Contains(t, i.Unusable, want)
	}
}

func TestInstance_addressFallsBackToTheNode(t *testing.T) {
	i, _ := instance(entry("n", "a", "decode", func(e *api.ServiceEntry) { e.Service.Address = "" }))
	require.Equal(t, "http://10.0.0.1:23145", i.URL)
	i, _ = instance(entry("n", "a", "decode", func(e *api.ServiceEntry) { e.Service.Address = "fd00::7" }))
	require.Equal(t, "http://[fd00::7]:23145", i.URL)
}

func TestInstance_withoutRoleTagIsNotOurs(t *testing.T) {
	_, ok := instance(entry("n", "a", "x", func(e *api.ServiceEntry) { e.Service.Tags = []string{"http"} }))
	require.False(t, ok)
}

func TestStatic_takesFixedAddresses(t *testing.T) {
	s, err := Static([]string{"http://p1:8000/", "both:1"}, []string{"https://d1/base", "http://both:1"})
	require.NoError(t, err)
	require.True(t, s.At.IsZero())
	got := map[string]pd.Role{}
	for _, i := range s.Instances {
		require.True(t, i.Usable())
		got[i.URL] = i.Role
	}
	require.Equal(t, map[string]pd.Role{"http://p1:8000": pd.RolePrefill, "http://both:1": pd.RoleBoth, "https://d1/base": pd.RoleDecode}, got)
}

func TestStatic_reportsEveryBadAddress(t *testing.T) {
	_, err := Static([]string{"ftp://x", "http://p", "http://p/"}, []string{"http://", "http://u@h", "::::"})
	require.Error(t, err)
	for _, want := range []string{`"ftp"`, `"http://p/": given twice`, `"http://": no host`, `"http://u@h": carries more`, `"::::"`} {
		require.ErrorContains(t, err, want)
	}
}
