package router

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router/admit"
	"github.com/nomad-vllm/nomad-vllm/router/choose"
	"github.com/nomad-vllm/nomad-vllm/router/handoff"
)

// constants are the strings that a file declares under names of a kind.
func constants(t *testing.T, path, prefix string) (values []string) {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	require.NoError(t, err)
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 || !strings.HasPrefix(spec.Names[0].Name, prefix) {
			return true
		}
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
			s, err := strconv.Unquote(lit.Value)
			require.NoError(t, err)
			values = append(values, s)
		}
		return true
	})
	require.NotEmpty(t, values, "%s has no constant %s...", path, prefix)
	return values
}

// TestDocs_nameWhatClientsAndOperatorsSee: headers, reasons, policies, types of
// errors and fields of the log.
func TestDocs_nameWhatClientsAndOperatorsSee(t *testing.T) {
	b, err := os.ReadFile("../docs/router.md")
	require.NoError(t, err)
	doc := string(b)
	named := func(kind, name string) {
		t.Helper()
		if !strings.Contains(doc, "`"+name+"`") {
			t.Errorf("docs/router.md does not name the %s `%s`", kind, name)
		}
	}
	for _, h := range append(constants(t, "../pd/header.go", "Header"), sessionHeader, choose.ReportHeader, choose.ReportFormatHeader) {
		if h != pd.HeaderPrefix {
			named("header", strings.ToLower(h))
		}
	}
	for _, r := range pd.Reasons() {
		named("reason", string(r))
	}
	for _, r := range append(admit.Reasons(), names(handoff.Refusals())...) {
		named("reason", r)
	}
	for _, ep := range handoff.Endpoints() {
		require.Regexp(t, "`(POST )?"+string(ep)+"`", doc, "endpoint")
	}
	for _, p := range choose.Policies() {
		named("policy", string(p))
	}
	for _, e := range constants(t, "errors.go", "type") {
		named("type of error", e)
	}
	fields := (&trip{out: outcome{key: "k", failure: "f"}}).fields(0)
	for n := 0; n < len(fields); n += 2 {
		named("field of the log", fields[n].(string))
	}
}

func names[T ~string](list []T) (out []string) {
	for _, x := range list {
		out = append(out, string(x))
	}
	return out
}
