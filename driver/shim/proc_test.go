package shim

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestParseStat_readsWhatAProcessCallsItself(t *testing.T) {
	line := `4242 (a) R 1 (b c) S 7 4242 4240 0 -1 4194560 4455 153347 1 98 11 12 121 44 20 0 1 0 66715 5427200 993 18446744073709551615 9 9`
	s, err := parseStat(4242, []byte(line))
	require.NoError(t, err)
	require.Equal(t, Stat{Proc: Proc{PID: 4242, Start: 66715}, State: 'S', PPID: 7, Group: 4242, Session: 4240, User: 11, System: 12, ChildUser: 121, ChildSystem: 44, RSS: 993}, s)
}

func TestParseStat_refusesGarbage(t *testing.T) {
	for line, want := range map[string]string{
		"":             `stat of process 12: no name in ""`,
		"12 (x":        `stat of process 12: no name in "12 (x"`,
		"12 (x) S 1 2": `stat of process 12: 3 fields in "12 (x) S 1 2"`,
		"12 (x) S a b c d e f g h i j k l m n o p q r s t u v": "stat of process 12: field 4",
	} {
		_, err := parseStat(12, []byte(line))
		require.ErrorContains(t, err, want, line)
	}
}

func TestProc_isItselfOnly(t *testing.T) {
	s, err := ReadStat(os.Getpid())
	require.NoError(t, err)
	require.True(t, s.Alive())
	require.False(t, Proc{PID: s.PID, Start: s.Start + 1}.Alive(), "another process of the same PID")
	require.ErrorIs(t, Proc{PID: s.PID, Start: s.Start + 1}.Signal(unix.SIGKILL), os.ErrProcessDone)
	require.ErrorContains(t, Proc{PID: 1}.Signal(0), "not a task's process")
	require.Error(t, Proc{}.Signal(unix.SIGKILL), "0 would be our own group")
}

func TestProc_signalsTheLiving(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	require.NoError(t, cmd.Start())
	s, err := ReadStat(cmd.Process.Pid)
	require.NoError(t, err)
	require.NoError(t, s.Signal(unix.SIGTERM))
	require.Error(t, cmd.Wait())
	require.ErrorIs(t, s.Signal(unix.SIGTERM), os.ErrProcessDone)
}

func TestDescendants_findsGrandchildrenAndSkipsTheDead(t *testing.T) {
	p := func(pid, ppid int, state byte) Stat { return Stat{Proc: Proc{PID: pid}, PPID: ppid, State: state} }
	all := []Stat{p(1, 0, 'S'), p(10, 1, 'S'), p(11, 10, 'S'), p(12, 11, 'R'), p(13, 10, 'Z'), p(14, 13, 'S'), p(20, 1, 'S')}
	var pids []int
	for _, s := range Descendants(all, 10) {
		pids = append(pids, s.PID)
	}
	require.ElementsMatch(t, []int{11, 12, 14}, pids)
	require.Empty(t, Descendants([]Stat{p(5, 6, 'S'), p(6, 5, 'S')}, 4), "a loop, as two reads may show, ends")
}

func TestOrphans_goByTheMarkerWhenTheTaskIsGone(t *testing.T) {
	const id = "alloc/vllm/0123abcd"
	ours := exec.Command("sleep", "60")
	ours.Env = []string{EnvMarker + "=" + id}
	theirs := exec.Command("sleep", "60")
	theirs.Env = []string{EnvMarker + "=" + id + "e"}
	for _, c := range []*exec.Cmd{ours, theirs} {
		require.NoError(t, c.Start())
	}
	ended := make(chan error, 1)
	go func() { ended <- ours.Wait() }()
	t.Cleanup(func() { _ = theirs.Process.Kill(); _ = theirs.Wait() })

	// The marker shows only after exec; until then the child is still us.
	require.Eventually(t, func() bool { return marked(ours.Process.Pid, []byte(EnvMarker+"="+id)) }, soon, often)
	n, err := KillOrphans(id, Proc{PID: theirs.Process.Pid, Start: 1}, "")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Error(t, <-ended)
	require.NoError(t, theirs.Process.Signal(unix.Signal(0)), "another task's process lives, though it has the old PID")
}
