package taskstart

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// second is the time of the n-th start in the tests.
func second(n int) time.Time { return time.Date(2026, 1, 2, 3, 4, n, 0, time.UTC) }

// measured is a run in which the tasks began so many milliseconds after Nomad
// had asked, one second apart.
func measured(t *testing.T, ours, theirs []int) *Result {
	r := &Result{Starts: len(ours), At: second(0), Machine: Machine{CPU: "Z80", Cores: 1, Kernel: "Linux 6", Load: "0.10", Nomad: "1.11.3"}}
	var starts []start
	a := asked{}
	for i := range ours {
		for driver, took := range map[string]int{"vllm": ours[i], "raw_exec": theirs[i]} {
			a[driver] = append(a[driver], second(i))
			probe := second(i).Add(time.Duration(took) * time.Millisecond)
			starts = append(starts, start{driver: driver, probe: probe, started: probe.Add(time.Millisecond)})
		}
	}
	require.NoError(t, r.add(starts, a))
	return r
}

func TestReadAsked_takesTheTimesOfEachTask(t *testing.T) {
	a, err := readAsked(strings.NewReader(`==> Loaded configuration
{"@level":"trace","@message":"finished prestart hooks","@timestamp":"2026-01-02T03:04:01.000500Z","task":"vllm"}
{"@level":"trace","@message":"finished prestart hook","@timestamp":"2026-01-02T03:04:01.100000Z","name":"logmon","task":"vllm"}
{"@level":"trace","@message":"finished prestart hooks","@timestamp":"2026-01-02T03:04:02.000000Z","task":"raw_exec"}
{"@level":"trace","@message":"finished prestart hooks","@timestamp":"2026-01-02T03:04:03.000000Z","task":"vllm"}
{"@level":"trace","@message":"finished prestart hooks","@timestamp":"2026-01-02T03:04:03.000000Z"}
`))
	require.NoError(t, err)
	require.Len(t, a["vllm"], 2)
	require.Len(t, a["raw_exec"], 1)
	at, ok := a.before("vllm", second(2))
	require.True(t, ok)
	require.Equal(t, second(1).Add(500*time.Microsecond), at)
	_, ok = a.before("vllm", second(1))
	require.False(t, ok, "nobody had asked yet")
}

func TestReadAsked_refusesALogWithoutJSON(t *testing.T) {
	_, err := readAsked(strings.NewReader(`2026-01-02T03:04:01Z [TRACE] client: finished prestart hooks` + "\n"))
	require.ErrorContains(t, err, "read the agent's log")
}

func TestResult_aStartThatTheLogDoesNotHaveIsAnError(t *testing.T) {
	r := &Result{Starts: 1}
	err := r.add([]start{{driver: "vllm", probe: second(1)}}, asked{"raw_exec": {second(0)}})
	require.ErrorContains(t, err, `the agent's log has no "finished prestart hooks" before it`)
	err = r.add([]start{{driver: "vllm", probe: second(1)}}, asked{"vllm": {second(0)}})
	require.ErrorContains(t, err, "0 starts measured, want 1", "the other driver's are missing")
}

func TestResult_comparesTheMedians(t *testing.T) {
	require.NoError(t, measured(t, []int{20, 90, 10}, []int{30, 25, 26}).Check(), "one slow start does not decide")
	err := measured(t, []int{20, 31, 40}, []int{30, 25, 26}).Check()
	require.ErrorContains(t, err, "median 31.0 ms, raw_exec's 26.0 ms (1.19 of it; must be at most 1)")
}

func TestResult_writesThePageAndItsPicture(t *testing.T) {
	r := measured(t, []int{20, 21, 22, 23, 24, 25, 26, 27, 28, 99}, []int{40, 41, 42, 43, 44, 45, 46, 47, 48, 49})
	dir := t.TempDir()
	require.NoError(t, r.Write(dir))
	b, err := os.ReadFile(filepath.Join(dir, page))
	require.NoError(t, err)
	for _, says := range []string{
		"2026-01-02; Z80, 1 cores, Linux 6, Nomad 1.11.3; load average before it 0.10.", "10 starts of each driver",
		"| to the engine's first instruction | 25.0 ms | 45.0 ms | 0.56 | 99.0 ms | 49.0 ms | 2.02 |",
		"| to Nomad's Started event | 26.0 ms | 46.0 ms |", "](" + picture + ")",
	} {
		require.Contains(t, string(b), says)
	}
	f, err := os.Open(filepath.Join(dir, picture))
	require.NoError(t, err)
	defer f.Close()
	dots := 0
	for d := xml.NewDecoder(f); ; {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		if e, ok := tok.(xml.StartElement); ok && e.Name.Local == "circle" {
			dots++
		}
	}
	require.Equal(t, 20, dots, "each start is in the picture")
}

func TestAxis_endsRound(t *testing.T) {
	for _, c := range []struct{ d, end, step int }{{3, 3, 1}, {61, 80, 20}, {119, 120, 20}, {1000, 1000, 200}} {
		end, step := axis(time.Duration(c.d) * time.Millisecond)
		require.Equal(t, [2]int64{int64(c.end), int64(c.step)}, [2]int64{end.Milliseconds(), step.Milliseconds()})
	}
}
