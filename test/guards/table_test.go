package guards

import (
	"go/format"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTable_fitsTheSource(t *testing.T) {
	names := map[string]bool{}
	for _, g := range guards() {
		require.False(t, names[g.name], "two guards named %s", g.name)
		names[g.name] = true
		require.NotEqual(t, g.old, g.new, g.name)
		_, err := format.Source([]byte(g.without(t)))
		require.NoError(t, err, "guard %s: the source without it", g.name)
	}
}

func TestTable_holdsEveryRow(t *testing.T) {
	rows, held := tableRows(t), map[string]bool{}
	for _, g := range guards() {
		require.NotEmpty(t, g.rows, g.name)
		for _, id := range g.rows {
			require.Contains(t, rows, id, "guard %s: a row that docs/failures.md does not have", g.name)
			held[id] = true
		}
	}
	without := slices.DeleteFunc(rows, func(id string) bool { return held[id] })
	require.Empty(t, without, "rows of docs/failures.md that no guard names: nobody has seen their tests fail")
}
