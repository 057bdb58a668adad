package cluster

import "syscall"

// childAttr gives the child a process group of its own, and ends it if we die
// without a chance to stop it.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
