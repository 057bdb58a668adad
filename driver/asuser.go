package driver

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

// asUser looks at the file system with the rights of a task's user: the kernel
// knows about access lists, network file systems and mount options, and a
// computation over permission bits does not. Only one thread takes the user
// on, and only for files, so that nobody can signal or trace the plugin
// meanwhile. nil: the agent's own user, whom look then runs as.
func asUser(u *shim.Credential, look func() error) error {
	if u == nil {
		return look()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		before, err := unix.Getgroups()
		var groups []uint32
		for _, g := range before {
			groups = append(groups, uint32(g))
		}
		if err == nil {
			err = fileRights(int(u.UID), int(u.GID), u.Groups)
		}
		if err != nil {
			done <- fmt.Errorf("take on the file rights of user %d: %w", u.UID, err)
			return // still locked: the thread ends with this goroutine
		}
		err = look()
		if fileRights(unix.Getuid(), unix.Getgid(), groups) == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// fileRights sets who the calling thread is to the file system. Away from
// root, the kernel drops root's privileges over files as well, and gives them
// back on the way back.
func fileRights(uid, gid int, groups []uint32) error {
	var first unsafe.Pointer
	if len(groups) > 0 {
		first = unsafe.Pointer(&groups[0])
	}
	// Not unix.Setgroups: it acts on all threads.
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(first), 0); errno != 0 {
		return errno
	}
	_ = unix.Setfsgid(gid)
	_ = unix.Setfsuid(uid)
	// They tell of no failure, but of the value that was there before.
	if now, err := unix.SetfsgidRetGid(-1); err != nil || now != gid {
		return fmt.Errorf("setfsgid %d: %w", gid, unix.EPERM)
	}
	if now, err := unix.SetfsuidRetUid(-1); err != nil || now != uid {
		return fmt.Errorf("setfsuid %d: %w", uid, unix.EPERM)
	}
	return nil
}

// access asks the kernel whether the calling thread may do mode (unix.W_OK and
// the like) to a file, and does nothing to it.
func access(path string, mode uint32) error {
	p, err := unix.BytePtrFromString(path)
	if err != nil {
		return err
	}
	cwd := unix.AT_FDCWD
	// Not unix.Faccessat: on kernels before 5.8 it computes, for another user.
	_, _, errno := unix.Syscall6(unix.SYS_FACCESSAT2, uintptr(cwd), uintptr(unsafe.Pointer(p)), uintptr(mode), unix.AT_EACCESS, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}
