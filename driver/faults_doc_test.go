package driver_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// A row of the fault table without a test is a promise, a test without a row
// is not known to anybody.
func TestFaultTable_hasARowForEachTest(t *testing.T) {
	doc, err := os.ReadFile("../docs/faults-driver.md")
	require.NoError(t, err)
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	tests := map[string]bool{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`(?m)^func (Test\w+)\(`).FindAllStringSubmatch(string(b), -1) {
			tests[m[1]] = true
		}
	}
	rows := map[string]bool{}
	for _, m := range regexp.MustCompile("`(Test\\w+)`").FindAllStringSubmatch(string(doc), -1) {
		rows[m[1]] = true
		require.True(t, tests[m[1]], "docs/faults-driver.md names %s, which is no test", m[1])
	}
	for name := range tests {
		if regexp.MustCompile(`^TestFault_`).MatchString(name) {
			require.True(t, rows[name], "docs/faults-driver.md has no row for %s", name)
		}
	}
}
