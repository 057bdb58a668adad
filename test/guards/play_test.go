//go:build guards

package guards

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	// rowsLimit is for the rows. One that hangs without its guard is ended by
	// its own waits, of some ten seconds; the blocks that it leaves, by leases.
	rowsLimit = 3 * time.Minute
	// buildLimit is for compiling on a machine that does other work.
	buildLimit = 5 * time.Minute
)

// played is what became of some rows.
type played struct {
	failed  map[string]string // by row, what it said first
	trouble string            // why the run as a whole says nothing
	output  string
}

// event is one line of go test -json.
type event struct {
	Action, Test, Output string
}

// play runs rows, and nothing else, as the go command's flags see the source.
func play(t *testing.T, pkg string, rows []string, flags ...string) played {
	ctx, cancel := context.WithTimeout(t.Context(), buildLimit+rowsLimit)
	defer cancel()
	args := append([]string{"test", "-json", "-count=1", "-p=1", "-vet=off", "-timeout", rowsLimit.String()}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "-run", "^TestFailures$/^("+strings.Join(rows, "|")+")$", pkg)...)
	cmd.Dir = root
	cmd.WaitDelay = 10 * time.Second
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	p := read(t, out)
	p.output += said.String()
	switch {
	case ctx.Err() != nil:
		p.trouble = "it did not end within " + (buildLimit + rowsLimit).String()
	case p.trouble == "" && err != nil && len(p.failed) == 0:
		p.trouble = "no row failed, and yet: " + err.Error()
	}
	return p
}

// row takes the row out of a test's name.
var row = regexp.MustCompile(`^TestFailures/([^/]+)`)

func read(t *testing.T, out []byte) played {
	t.Helper()
	p := played{failed: map[string]string{}}
	said := map[string]string{} // by row
	var all strings.Builder
	for line := range bytes.Lines(out) {
		var e event
		require.NoError(t, json.Unmarshal(line, &e), "%s", line)
		all.WriteString(e.Output)
		switch {
		case e.Action == "build-fail":
			p.trouble = "it does not compile"
		case strings.HasPrefix(e.Output, "panic: "), strings.HasPrefix(e.Output, "fatal error: "):
			p.trouble = "the tests did not come to their end: " + strings.TrimSpace(e.Output)
		}
		m := row.FindStringSubmatch(e.Test)
		if m == nil {
			continue
		}
		said[m[1]] += e.Output
		if e.Action == "fail" {
			p.failed[m[1]] = ""
		}
	}
	for id := range p.failed {
		p.failed[id] = reason(said[id])
	}
	p.output = all.String()
	return p
}

// reason is what a failed test says first, in one line.
func reason(output string) string {
	const most = 160
	in, found := bufio.NewScanner(strings.NewReader(output)), ""
	for in.Scan() {
		line := strings.TrimSpace(in.Text())
		if what, ok := strings.CutPrefix(line, "Error:"); ok {
			found = strings.TrimSpace(what)
			continue
		}
		if found == "" {
			continue
		}
		if strings.HasPrefix(line, "Test:") || strings.HasPrefix(line, "Diff:") {
			break
		}
		found += " " + line
	}
	found = strings.Join(strings.Fields(found), " ")
	switch {
	case found == "":
		return "failed"
	case len(found) > most:
		return strings.ToValidUTF8(found[:most], "") + "..."
	}
	return found
}
