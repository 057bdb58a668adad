//go:build e2e

package e2e

import (
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/fleet"
)

func itoa(n int) string { return strconv.Itoa(n) }

// enginePID finds the engine of an instance by its command line, 0 if there is none.
func enginePID(t *testing.T, i *fleet.Instance) int {
	u, err := url.Parse(i.URL)
	require.NoError(t, err)
	entries, err := os.ReadDir("/proc")
	require.NoError(t, err)
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err != nil || len(b) == 0 {
			continue
		}
		args := strings.Split(strings.TrimRight(string(b), "\x00"), "\x00")
		if len(args) > 2 && args[1] == "serve" && hasPort(args, u.Port()) {
			return pid
		}
	}
	return 0
}

func hasPort(args []string, port string) bool {
	for n, a := range args {
		if a == "--port="+port || (a == "--port" && n+1 < len(args) && args[n+1] == port) {
			return true
		}
	}
	return false
}
