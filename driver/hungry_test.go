package driver_test

import (
	"os"
	"strconv"
	"syscall"
	"time"
)

// hungryEngine are the stand-ins that use more than they should.
func hungryEngine(behaviour, arg string, terms <-chan os.Signal) int {
	switch behaviour {
	case "eat": // ARG MiB of memory
		n, _ := strconv.Atoi(arg)
		var all [][]byte
		for range n {
			b := make([]byte, 1<<20)
			for i := 0; i < len(b); i += os.Getpagesize() {
				b[i] = 1
			}
			all = append(all, b)
		}
		say("ready")
		<-terms
		return len(all) - n
	case "eatcore": // vLLM's API server, which exits 0 when its engine core is gone
		core := self("eat", arg)
		if err := core.Start(); err != nil {
			panic(err)
		}
		_ = core.Wait()
		say("core-gone")
		return 0
	case "burn": // CPU time in children that exit
		say("ready")
		for len(terms) == 0 {
			child("burnt", "")
			note("spent", int(cpuTime(syscall.RUSAGE_CHILDREN)/time.Millisecond))
		}
		return 0
	case "burnt":
		for cpuTime(syscall.RUSAGE_SELF) < 50*time.Millisecond {
		}
		return 0
	}
	return faultyEngine(behaviour, arg, terms)
}

func cpuTime(who int) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(who, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
