package agents_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/dev/agents"
)

// fake puts an executable into dir that answers `version`.
func fake(t *testing.T, dir, name, version string) {
	require.NoError(t, os.MkdirAll(dir, 0o755))
	script := "#!/bin/sh\necho \"" + name + " v" + version + "\"\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755))
}

func nomad() agents.Agent { return agents.All()[0] }

func TestLocate_prefersAnInstalledAgentThatIsNewEnough(t *testing.T) {
	dir := t.TempDir()
	fake(t, dir, "nomad", "1.10.5-beta.1+ent")
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	f, err := nomad().Locate(t.Context(), t.TempDir())
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "nomad"), f.Path)
	require.Equal(t, "1.10.5", f.Version)
	require.False(t, f.Built)
}

func TestLocate_passesOverAnOldAgentForTheCache(t *testing.T) {
	dir, cache := t.TempDir(), t.TempDir()
	fake(t, dir, "nomad", "1.8.13")
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	_, err := nomad().Locate(t.Context(), cache)
	require.ErrorIs(t, err, agents.ErrNotInstalled)

	fake(t, filepath.Join(cache, "agents", "nomad-"+nomad().Pinned), "nomad", nomad().Pinned)
	f, err := nomad().Locate(t.Context(), cache)
	require.NoError(t, err)
	require.True(t, f.Built)
}

func TestBuild_withoutGoSaysWhatToInstall(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := nomad().Build(t.Context(), t.TempDir(), nil)
	require.ErrorContains(t, err, "install Go, or install nomad >= 1.9.0")
}

// fakeGo stands in for the go command: it lists three packages, prints two as
// compiled, and writes the agent that -o names.
const fakeGo = `#!/bin/sh
if [ "$1" = list ]; then printf 'a\nb\nc\n'; exit 0; fi
test -f go.mod && test -f go.sum || exit 9
echo 'a' >&2; echo 'b' >&2
while [ "$1" != -o ]; do shift; done
printf '#!/bin/sh\necho Nomad v1.11.3\n' > "$2"
chmod +x "$2"
`

func TestBuild_reportsProgressAndFillsTheCacheOnce(t *testing.T) {
	dir, cache := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go"), []byte(fakeGo), 0o755))
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	var last, total int
	f, err := nomad().Build(t.Context(), cache, func(_ agents.Agent, n, of int, _ time.Duration) { last, total = n, of })
	require.NoError(t, err)
	require.Equal(t, "1.11.3", f.Version)
	require.Equal(t, []int{3, 3}, []int{last, total})

	require.NoError(t, os.Remove(filepath.Join(dir, "go")))
	require.NoError(t, os.Symlink("/bin/false", filepath.Join(dir, "go")))
	_, err = nomad().Build(t.Context(), cache, nil)
	require.NoError(t, err, "what is in the cache is not built again")
}

func TestBuild_thatFailsShowsTheCompiler(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go"), []byte("#!/bin/sh\necho 'no such module' >&2\nexit 1\n"), 0o755))
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	_, err := nomad().Build(t.Context(), t.TempDir(), func(agents.Agent, int, int, time.Duration) {})
	require.ErrorContains(t, err, "build nomad 1.11.3: fetch modules")
	require.ErrorContains(t, err, "no such module")
}

func TestBuild_waitsForAnotherOnlyAsLongAsTheContext(t *testing.T) {
	dir, cache := t.TempDir(), t.TempDir()
	// The first build blocks inside the compiler until the test ends it.
	fifo := filepath.Join(dir, "go")
	require.NoError(t, os.WriteFile(fifo, []byte("#!/bin/sh\nexec sleep 60\n"), 0o755))
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	first, cancel := context.WithCancel(t.Context())
	done, began := make(chan error), make(chan struct{}, 1)
	go func() {
		_, err := nomad().Build(first, cache, func(agents.Agent, int, int, time.Duration) { began <- struct{}{} })
		done <- err
	}()
	<-began
	second, cancelSecond := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancelSecond()
	_, err := nomad().Build(second, cache, nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	cancel()
	require.Error(t, <-done)
}
