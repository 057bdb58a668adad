package driver

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// onlyTheSystem are the messages that no mistake of a user's brings about: the
// operating system must fail for them, and no test makes it fail that way.
func onlyTheSystem() map[string]string {
	return map[string]string{
		"user %q: only an agent that runs as root can run tasks as another user; remove user or run the agent as root": "needs an agent without root, and the tests may run as root",
		"the task has ended":                             "the driver puts it in its own words",
		"the task could not be put into %s":              "needs a kernel that takes a limit and then not the process",
		"stop task %s: some of its processes do not die": "needs a process that the kernel does not let die",
	}
}

// How much of a message's own text a test must quote.
const (
	window        = 14
	shortestQuote = 6 // of a message that has no longer stretch
)

// Every message of the driver is quoted by a test: a stretch of its text that
// no other message has stands in a string of a test file. One around another
// error that gives no advice only says where that one comes from.
func TestMessages_eachIsQuotedByATest(t *testing.T) {
	formats, quoted := messages(t, ".", "shim", "cgroup", "telemetry", "../vllm")
	excused := onlyTheSystem()
	for f, where := range formats {
		if strings.Contains(f, "%w") && !strings.Contains(f, ";") {
			continue
		}
		reason, excuse := excused[f]
		delete(excused, f)
		switch found := isQuoted(f, formats, quoted); {
		case found && excuse:
			t.Errorf("%s: a test quotes %q: take it off onlyTheSystem", where, f)
		case !found && reason == "":
			t.Errorf("%s: no test quotes %q: let a test bring it about, or add it to onlyTheSystem with the reason", where, f)
		}
	}
	require.Empty(t, excused, "onlyTheSystem has messages that are gone")
}

// isQuoted reports whether a test quotes what is this message's alone.
func isQuoted(format string, all map[string]string, quoted string) bool {
	for _, part := range regexp.MustCompile(`%[-+# 0-9.]*[a-zA-Z]`).Split(format, -1) {
		n := min(window, len(part))
		for i := 0; i+n <= len(part) && n >= shortestQuote; i++ {
			if piece := part[i : i+n]; strings.Contains(quoted, piece) && !anotherHas(piece, format, all) {
				return true
			}
		}
	}
	return false
}

func anotherHas(piece, format string, all map[string]string) bool {
	for f := range all {
		if f != format && strings.Contains(f, piece) {
			return true
		}
	}
	return false
}

// messages are the texts of the packages' errors with where they stand, and
// all strings of their tests.
func messages(t *testing.T, dirs ...string) (formats map[string]string, quoted string) {
	set := token.NewFileSet()
	var sources, tests []*ast.File
	for _, dir := range dirs {
		names, err := filepath.Glob(filepath.Join(dir, "*.go"))
		require.NoError(t, err)
		for _, name := range names {
			f, err := parser.ParseFile(set, name, nil, 0)
			require.NoError(t, err)
			switch {
			case name == "messages_test.go": // it quotes what no other test does
			case strings.HasSuffix(name, "_test.go"):
				tests = append(tests, f)
			default:
				sources = append(sources, f)
			}
		}
	}
	consts := map[string]string{}
	each(sources, func(n *ast.ValueSpec) {
		for i, v := range n.Values {
			if s, ok := text(v, consts); ok {
				consts[n.Names[i].Name] = s
			}
		}
	})
	formats = map[string]string{}
	each(sources, func(n *ast.CallExpr) {
		if s, ok := errorText(n, consts); ok {
			formats[s] = set.Position(n.Pos()).String()
		}
	})
	var all strings.Builder
	each(tests, func(n *ast.BasicLit) {
		if s, ok := text(n, nil); ok {
			all.WriteString(s + "\n")
		}
	})
	require.NotEmpty(t, formats)
	return formats, all.String()
}

// each visits every node of one kind.
func each[N ast.Node](files []*ast.File, visit func(N)) {
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			if n, ok := n.(N); ok {
				visit(n)
			}
			return true
		})
	}
}

// errorText is the text of fmt.Errorf(...) or errors.New(...).
func errorText(call *ast.CallExpr, consts map[string]string) (string, bool) {
	fun, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || len(call.Args) == 0 {
		return "", false
	}
	pkg, _ := fun.X.(*ast.Ident)
	if pkg == nil || pkg.Name+"."+fun.Sel.Name != "fmt.Errorf" && pkg.Name+"."+fun.Sel.Name != "errors.New" {
		return "", false
	}
	return text(call.Args[0], consts)
}

// text is the value of a string expression of literals and constants.
func text(e ast.Expr, consts map[string]string) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", false
		}
		s, err := strconv.Unquote(e.Value)
		return s, err == nil
	case *ast.Ident:
		s, ok := consts[e.Name]
		return s, ok
	case *ast.BinaryExpr:
		x, okX := text(e.X, consts)
		y, okY := text(e.Y, consts)
		return x + y, okX && okY && e.Op == token.ADD
	}
	return "", false
}
