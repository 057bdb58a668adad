package driver_test

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

const nobody = 65534

// The driver's own tests, run as a user without rights: what they need of root
// they must find missing and say, and the rest must work.
func TestRootless_theDriverWorksAndSaysWhatIsMissing(t *testing.T) {
	dir, err := os.MkdirTemp("", "rootless") // not below the test's own, which only its user may enter
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	exe := filepath.Join(dir, "driver.test")
	copyFile(t, exe, "/proc/self/exe")
	tests := []string{
		"TestTask_startsServesAndStops", "TestTask_runsAsItsUser", "TestTask_destroyNeedsForceWhileItRuns",
		"TestLimits_aTaskThatEatsTooMuchIsKilledAndSaysWhy", "TestLimits_theEngineHasAnOOMScoreOfItsOwn",
		"TestLimits_ulimitsHoldForTheEngineAndItsExecsOnly", "TestLimits_openFilesAreRaisedByDefault",
		"TestStats_comeFromTheTasksCgroup", "TestRights_areToldOnce",
	}
	cmd := exec.Command(exe, "-test.v", "-test.run", "^("+strings.Join(tests, "|")+")$")
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir, "HOME=" + dir}
	if os.Geteuid() == 0 {
		require.NoError(t, os.Chown(dir, nobody, nobody))
		require.NoError(t, os.Chmod(dir, 0o755))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for _, name := range tests {
		require.Contains(t, string(out), "--- PASS: "+name+" ")
	}
}

func copyFile(t *testing.T, to, from string) {
	t.Helper()
	in, err := os.Open(from)
	require.NoError(t, err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	require.NoError(t, err)
	_, err = io.Copy(out, in)
	require.NoError(t, err)
	require.NoError(t, out.Close())
}
