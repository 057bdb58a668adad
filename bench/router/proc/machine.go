package proc

import (
	"bytes"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Machine describes where figures were taken.
type Machine struct {
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	MiB    int    `json:"mib"`
	Kernel string `json:"kernel"`
	Go     string `json:"go"`
}

// Here is this machine.
func Here() Machine {
	m := Machine{Cores: runtime.NumCPU(), Go: runtime.Version(), CPU: runtime.GOARCH}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		m.Kernel = unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
	}
	var s unix.Sysinfo_t
	if unix.Sysinfo(&s) == nil {
		m.MiB = int(s.Totalram * uint64(s.Unit) >> 20)
	}
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(b)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				m.CPU = strings.TrimSpace(value)
				break
			}
		}
	}
	return m
}

// Busy is the time that all cores together have been busy since the start of
// the machine, in ticks of 10 ms.
func Busy() (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, fmt.Errorf("read the machine's time: %w", err)
	}
	line, _, _ := bytes.Cut(b, []byte("\n"))
	f := bytes.Fields(line)
	if len(f) < 9 {
		return 0, fmt.Errorf("read the machine's time: %q", line)
	}
	var ticks int64
	for n, field := range f[1:9] { // user nice system idle iowait irq softirq steal
		v, err := strconv.ParseInt(string(field), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read the machine's time: %w", err)
		}
		if n != 3 && n != 4 {
			ticks += v
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// RaiseFiles makes room for want open files here and in children, and returns
// what there is in the end.
func RaiseFiles(want uint64) (uint64, error) {
	var now unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &now); err != nil {
		return 0, fmt.Errorf("read the limit of open files: %w", err)
	}
	// The hard limit first: root may raise it.
	for _, try := range []unix.Rlimit{{Cur: want, Max: max(want, now.Max)}, {Cur: min(want, now.Max), Max: now.Max}} {
		if now.Cur >= want {
			break
		}
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &try); err == nil {
			return try.Cur, nil
		}
	}
	return now.Cur, nil
}
