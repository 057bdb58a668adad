package shim

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	soon  = 10 * time.Second
	often = 10 * time.Millisecond
)

func TestRecord_comesBackAsWritten(t *testing.T) {
	dir := t.TempDir()
	at := time.Now().UTC().Round(time.Second)
	want := Record{Version: recordVersion, TaskID: "t", ExitCode: 3, OOM: true, StopAsked: true, StartedAt: at, FinishedAt: at.Add(time.Second), Tail: []string{"a"}, Dropped: 5}
	require.NoError(t, want.write(dir))
	got, err := ReadRecord(dir, "t")
	require.NoError(t, err)
	require.Equal(t, want, got)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1, "no temporary file stays")
}

func TestReadRecord_takesNoOtherForIt(t *testing.T) {
	dir := t.TempDir()
	_, err := ReadRecord(dir, "t")
	require.ErrorIs(t, err, ErrNoRecord)
	for text, want := range map[string]string{
		`{"version":1,"task_id":"other"}`: `version 1 of task "other": want version 1 of "t"`,
		`{"version":9,"task_id":"t"}`:     `version 9 of task "t"`,
		`{"version":1,`:                   `unexpected end of JSON input`,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, recordFile), []byte(text), 0o600))
		_, err := ReadRecord(dir, "t")
		require.ErrorContains(t, err, want)
	}
}

func TestRecord_saysWhyItCannotBeWritten(t *testing.T) {
	require.ErrorContains(t, Record{}.write(filepath.Join(t.TempDir(), "gone")), "create exit record")
}

func TestTail_keepsTheLastLinesOfAFlood(t *testing.T) {
	var tl tail
	for i := range 1000 {
		tl.add([]byte{'a' + byte(i%26), '\n'})
	}
	tl.add([]byte("half a "))
	tl.add([]byte("line\r\n\n"))
	tl.add(make([]byte, 1<<20))
	got := tl.last()
	require.Len(t, got, tailLines)
	require.Equal(t, "half a line", got[tailLines-2])
	require.LessOrEqual(t, len(got[tailLines-1]), tailLineMax)
}

func TestLookPath_looksWhereTheTaskWould(t *testing.T) {
	dir := t.TempDir()
	tool := filepath.Join(dir, "bin", "tool")
	require.NoError(t, os.Mkdir(filepath.Dir(tool), 0o755))
	require.NoError(t, os.WriteFile(tool, nil, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bin", "data"), nil, 0o644))
	for name, c := range map[string]struct {
		name, path, want, err string
	}{
		"on the task's PATH":   {name: "tool", path: "/nowhere:" + filepath.Dir(tool), want: tool},
		"relative to the task": {name: "bin/tool", want: tool},
		"absolute":             {name: tool, want: tool},
		"not there":            {name: "tool2", path: filepath.Dir(tool), err: `command "tool2": not found on PATH (` + filepath.Dir(tool)},
		"not executable":       {name: "bin/data", err: `bin/data is not executable; chmod +x it`},
		"a directory":          {name: "./bin", err: "bin is a directory"},
		"no such file":         {name: "bin/none", err: `command "bin/none": stat`},
		"PATH of the task dir": {name: "tool", path: "bin", err: "not found on PATH (bin"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := LookPath(c.name, []string{"PATH=/first", "PATH=" + c.path}, dir)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}
