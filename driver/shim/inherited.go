package shim

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// closeInherited closes the files that the agent's process left open across
// exec by mistake. A shim lives for months, and would hold on to a listener, a
// lock or a deleted log for as long, and hand it to its engine. The runtime's
// own files are marked to be closed at exec; what is not marked was inherited.
func closeInherited() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return // without /proc nothing else works either, and says so
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= reportFD {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			_ = unix.Close(fd)
		}
	}
}
