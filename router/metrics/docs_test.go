package metrics

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router/breaker"
)

// everything is what the router can export: of what it registers, and of what
// it makes up at a scrape.
func everything(t *testing.T) (*Metrics, map[string][]string) {
	t.Helper()
	view := func() View {
		return View{Instances: []Instance{{ID: "i", Role: pd.RoleBoth, Usable: true, Breaker: breaker.Closed}}}
	}
	m := New(view)
	descs := make(chan *prometheus.Desc)
	go func() { defer close(descs); m.registry.Describe(descs) }()
	labels := map[string][]string{}
	add := func(d *prometheus.Desc) {
		found := regexp.MustCompile(`fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`).FindStringSubmatch(d.String())
		require.NotNil(t, found, d)
		if strings.HasPrefix(found[1], "pd_router_") {
			labels[found[1]] = strings.FieldsFunc(found[2], func(r rune) bool { return r == ',' })
		}
	}
	for d := range descs {
		add(d)
	}
	series := make(chan prometheus.Metric)
	go func() { defer close(series); (&instances{view: view}).Collect(series) }()
	for s := range series {
		add(s.Desc())
	}
	require.Greater(t, len(labels), 18)
	return m, labels
}

// TestDocs_haveEveryMetric with its labels, in their order, and none that is gone.
func TestDocs_haveEveryMetric(t *testing.T) {
	doc, err := os.ReadFile("../../docs/router.md")
	require.NoError(t, err)
	rows := map[string]string{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(pd_router_[a-z_]+)` \\|([^|]*)\\|").FindAllStringSubmatch(string(doc), -1) {
		rows[m[1]] = strings.TrimSpace(m[2])
	}
	m, all := everything(t)
	for name, labels := range all {
		var want []string
		for _, l := range labels {
			want = append(want, "`"+l+"`")
		}
		row, ok := rows[name]
		require.True(t, ok, "docs/router.md has no row for %s", name)
		require.Equal(t, strings.Join(want, ", "), row, name)
		delete(rows, name)
	}
	require.Empty(t, rows, "docs/router.md has metrics that do not exist")

	families, err := m.registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		for _, series := range f.GetMetric() {
			for _, l := range series.GetLabel() {
				switch l.GetName() {
				case "kind", "reason", "leg", "state", "path":
					if l.GetValue() == "" {
						continue
					}
					require.Contains(t, string(doc), "`"+l.GetValue()+"`", "%s{%s}", f.GetName(), l.GetName())
				}
			}
		}
	}
}
