package nomadvllm

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Each row of docs/failures.md is a subtest TestFailures/<row> of package
// router or of cmd/pd-router, and each of those is a row.
func TestFailureTable_everyRowIsPlayedAndNoOther(t *testing.T) {
	played := playedRows(t)
	require.NotEmpty(t, played)
	b, err := os.ReadFile("docs/failures.md")
	require.NoError(t, err)
	var written []string
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(line, "|")
		if id := strings.TrimSpace(cells[min(1, len(cells)-1)]); len(cells) == 8 && id != "row" && strings.Trim(id, "-") != "" {
			written = append(written, id)
		}
	}
	for _, id := range written {
		if !slices.Contains(played, id) {
			t.Errorf("docs/failures.md has row %q, which no TestFailures plays", id)
		}
	}
	for _, id := range played {
		if !slices.Contains(written, id) {
			t.Errorf("TestFailures/%s has no row in docs/failures.md", id)
		}
	}
	require.Equal(t, len(slices.Compact(slices.Sorted(slices.Values(written)))), len(written), "a row twice")
}

// playedRows are the ids in the tables of the failure tests: every literal
// field named id.
func playedRows(t *testing.T) (ids []string) {
	files, err := filepath.Glob("router/failure_rows_*_test.go")
	require.NoError(t, err)
	for _, name := range append(files, "cmd/pd-router/failure_rows_test.go") {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		ast.Inspect(f, func(n ast.Node) bool {
			kv, ok := n.(*ast.KeyValueExpr)
			if !ok {
				return true
			}
			key, _ := kv.Key.(*ast.Ident)
			value, _ := kv.Value.(*ast.BasicLit)
			if key != nil && key.Name == "id" && value != nil {
				id, err := strconv.Unquote(value.Value)
				require.NoError(t, err)
				ids = append(ids, id)
			}
			return true
		})
	}
	return ids
}
