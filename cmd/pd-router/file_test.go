package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/router/choose"
)

// parseWith parses a file's text and further flags.
func parseWith(t *testing.T, text string, args ...string) (settings, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "router.hcl")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	s, err := parse(append([]string{"-config", path}, args...), func(string) string { return "" }, &output{})
	if err != nil {
		return s, errorWithout(err, path)
	}
	return s, nil
}

type plain string

func (p plain) Error() string { return string(p) }

func errorWithout(err error, path string) error {
	return plain(strings.ReplaceAll(err.Error(), path, "router.hcl"))
}

func TestFile_setsAndFlagsWin(t *testing.T) {
	s, err := parseWith(t, `
listen     = ":9000"
slow_start = "10s"
log {
  level = "debug"
  json  = true
}
instances {
  prefill = ["http://10.0.0.1:1", "http://10.0.0.2:1"]
  decode  = ["http://10.0.0.3:1"]
}
prefill {
  tries   = 5
  timeout = "1m"
  policy  = "round_robin"
}
local { below = "learn" }
breaker { max_ejected = 0.25 }
limits { max_body = "8MiB" }
`, "-log-level", "warn", "-prefill", "http://10.9.9.9:1", "-prefill-timeout", "3m")
	require.NoError(t, err)
	require.Equal(t, ":9000", s.listen)
	require.Equal(t, "warn", s.logLevel)
	require.True(t, s.logJSON)
	require.Equal(t, addresses{"http://10.9.9.9:1"}, s.prefill, "the flag's, not both")
	require.Equal(t, addresses{"http://10.0.0.3:1"}, s.decode)
	require.Equal(t, 5, s.router.PrefillTries)
	require.Equal(t, 3*time.Minute, s.router.PrefillTimeout)
	require.Equal(t, choose.RoundRobin, s.router.Choose.Prefill)
	require.Equal(t, choose.Learn, s.router.LocalBelow)
	require.Equal(t, 10*time.Second, s.router.Choose.SlowStart)
	require.InDelta(t, 0.25, s.router.Breaker.MaxEjected, 1e-9)
	require.EqualValues(t, 8<<20, s.router.MaxBody)
}

func TestFile_saysEveryMistakeWithItsPlace(t *testing.T) {
	_, err := parseWith(t, `
lisen = ":9000"
prefill {
  tries  = "many"
  policy = "best"
  polcy  = "x"
}
prefill { }
decode "d1" { }
routes { }
limits { max_body = undefined }
`)
	require.EqualError(t, err, strings.TrimSpace(`
router.hcl:10,1: routes: no such block; there are breaker, consul, decode, instances, limits, local, log, prefill, telemetry, tls, trace, upstream, and key "NAME"
router.hcl:11,21: Variables not allowed: Variables may not be used here
router.hcl:2,1: lisen: no such setting; there are admin, drain_timeout, listen, no_fallback, slow_start, takeover
router.hcl:4,12: prefill.tries = "many": want a value like 3
router.hcl:5,12: prefill.policy = "best": policy "best": want one of auto, least_loaded, power_of_two, round_robin, session
router.hcl:6,3: prefill.polcy: no such setting; there are policy, timeout, tries
router.hcl:8,1: prefill: the block is there twice
router.hcl:9,8: decode: the block has no label`))
}

func TestFile_syntaxAndAbsence(t *testing.T) {
	_, err := parseWith(t, "listen = \n")
	require.ErrorContains(t, err, "router.hcl:1,10: Invalid expression")
	_, err = parse([]string{"-config", "/nowhere/router.hcl"}, func(string) string { return "" }, &output{})
	require.EqualError(t, err, "config: open /nowhere/router.hcl: no such file or directory")
}

// TestPlaces_eachHasItsFlag: a setting of the file without a flag would panic
// at the first file that has it.
func TestPlaces_eachHasItsFlag(t *testing.T) {
	var help output
	_, err := parse([]string{"-h"}, func(string) string { return "" }, &help)
	require.Error(t, err)
	for _, p := range places() {
		require.Contains(t, help.String(), "\n  -"+p.flag, p.path)
	}
}
