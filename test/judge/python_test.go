package judge

import (
	"bufio"
	"bytes"
	_ "embed"
	"encoding/binary"
	"io"
	"os/exec"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// source is the judge, in the binary so that a change of it is a change of the
// tests, which go test sees.
//
//go:embed testdata/judge.py
var source string

// python is a judge's process. One goroutine uses it.
type python struct {
	in   *bufio.Writer
	out  *bufio.Reader
	said bytes.Buffer // its stderr, to be read after its end
	end  func() error // closes its stdin and waits
}

// startPython starts a judge that ends with the test.
func startPython(tb testing.TB) *python {
	tb.Helper()
	path, err := exec.LookPath("python3")
	require.NoError(tb, err, "python3 judges what vLLM reads; install it (any version from 3.11, no packages)")
	cmd := exec.Command(path, "-I", "-c", source)
	stdin, err := cmd.StdinPipe()
	require.NoError(tb, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(tb, err)
	p := &python{in: bufio.NewWriter(stdin), out: bufio.NewReader(stdout)}
	cmd.Stderr = &p.said
	require.NoError(tb, cmd.Start())
	p.end = sync.OnceValue(func() error {
		_ = stdin.Close() // it is gone already if the judge broke down
		return cmd.Wait()
	})
	tb.Cleanup(func() { require.NoError(tb, p.end(), "the judge's own end") })
	return p
}

// judge is what the judge says of a case, "" if there is no difference.
func (p *python) judge(tb testing.TB, fields ...[]byte) string {
	tb.Helper()
	require.NoError(tb, p.in.WriteByte(byte(len(fields))))
	for _, f := range fields {
		var size [4]byte
		binary.BigEndian.PutUint32(size[:], uint32(len(f)))
		_, _ = p.in.Write(size[:]) // the first error stays, for Flush
		_, _ = p.in.Write(f)
	}
	err := p.in.Flush()
	var head [5]byte // the number of fields, which is one, and its length
	if err == nil {
		_, err = io.ReadFull(p.out, head[:])
	}
	said := make([]byte, binary.BigEndian.Uint32(head[1:]))
	if err == nil {
		_, err = io.ReadFull(p.out, said)
	}
	if err != nil {
		tb.Fatalf("ask the judge: %v; its end: %v; it said:\n%s\nabout %.2000q", err, p.end(), p.said.String(), fields)
	}
	return string(said)
}
