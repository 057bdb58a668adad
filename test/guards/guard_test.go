package guards

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// root is the module's directory as this package sees it.
const root = "../.."

// The packages whose TestFailures play the rows.
const (
	inRouter  = "./router"
	inCommand = "./cmd/pd-router"
)

// guard is a piece of source that rows of docs/failures.md rest on.
type guard struct {
	name string
	file string // relative to the module
	old  string // stands in file once
	new  string // stands there without the guard
	// rows fail without it. Each is played in pkg.
	rows []string
	pkg  string // empty: inRouter
}

func guards() []guard {
	return slices.Concat(prefillGuards(), decodeGuards(), clientGuards(), fleetGuards())
}

// without is the file's source without the guard.
func (g guard) without(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, g.file))
	require.NoError(t, err)
	require.Equal(t, 1, strings.Count(string(b), g.old), "guard %s: so often stands %q in %s; name the source as it is now", g.name, g.old, g.file)
	return strings.Replace(string(b), g.old, g.new, 1)
}

// tableRows are the ids of docs/failures.md.
func tableRows(t *testing.T) (ids []string) {
	b, err := os.ReadFile(filepath.Join(root, "docs/failures.md"))
	require.NoError(t, err)
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(line, "|")
		if len(cells) != 8 {
			continue
		}
		if id := strings.TrimSpace(cells[1]); id != "row" && strings.Trim(id, "-") != "" {
			ids = append(ids, id)
		}
	}
	require.NotEmpty(t, ids)
	return ids
}
