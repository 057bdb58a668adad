package nomadvllm

import (
	"bytes"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// longest is the number of lines over which a Go file is two files.
const longest = 600

func TestFiles_areShort(t *testing.T) {
	for _, name := range goFiles(t) {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		if n := bytes.Count(b, []byte("\n")); n > longest {
			t.Errorf("%s has %d lines, more than %d: split it by concept", name, n, longest)
		}
	}
}

// A package says once what it is and who owns which goroutine.
func TestPackages_haveOneComment(t *testing.T) {
	comments := map[string]int{}
	for _, name := range goFiles(t) {
		if strings.HasSuffix(name, "_test.go") || strings.Contains(name, "testdata/") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.PackageClauseOnly|parser.ParseComments)
		require.NoError(t, err)
		dir := filepath.Dir(name)
		comments[dir] += 0
		if f.Doc != nil && strings.HasPrefix(f.Doc.Text(), "Package ") || f.Doc != nil && f.Name.Name == "main" {
			comments[dir]++
		}
	}
	for dir, n := range comments {
		if n != 1 {
			t.Errorf("%s: %d package comments, want one", dir, n)
		}
	}
}

func goFiles(t *testing.T) []string {
	out, err := exec.Command("git", "ls-files", "*.go").Output()
	require.NoError(t, err)
	return strings.Fields(string(out))
}
