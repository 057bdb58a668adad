package shim

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// serving is a supervisor that answers on its socket, without a task.
func serving(t *testing.T) (*supervisor, Client) {
	s := &supervisor{reaper: newReaper(), notes: newNotes(time.Now()), ended: make(chan struct{})}
	s.spec.Dir, s.spec.WorkDir = t.TempDir(), "/"
	t.Chdir(s.spec.Dir) // where a shim is
	require.NoError(t, s.listen())
	done := make(chan struct{})
	go func() { defer close(done); s.serve() }()
	t.Cleanup(func() { s.listener.Close(); <-done; s.open.wg.Wait() })
	return s, Client{Dir: s.spec.Dir}
}

// The engine has ended and killTree is about to list what is left: a command
// that started now would be missed by it, and live on.
func TestExec_nothingStartsOnceTheTaskIsOver(t *testing.T) {
	s, client := serving(t)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	require.NoError(t, err)
	defer null.Close()
	touched := t.TempDir() + "/ran"
	s.reaper.close()
	_, err = client.Exec(t.Context(), []string{"/bin/sh", "-c", "touch " + touched}, false, null, null, null, func() { t.Error("it says that the command has started") })
	require.ErrorIs(t, err, ErrEnded)
	require.Empty(t, s.reaper.waiting)
	require.NoFileExists(t, touched)
}

// A task is over when its last child is: nothing starts between the two.
func TestReaper_closesWithItsLastChildOnly(t *testing.T) {
	r := newReaper()
	r.waiting[4242] = nil // a child that nobody has reaped yet
	require.False(t, r.closeIfIdle())
	require.False(t, r.closed)
	delete(r.waiting, 4242)
	require.True(t, r.closeIfIdle())
	_, err := r.spawn("/bin/true", []string{"true"}, nil)
	require.ErrorIs(t, err, ErrEnded)
}
