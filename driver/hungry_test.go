package driver_test

import (
	"os"
	"strconv"
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
			note("rounds", os.Getpid())
		}
		return 0
	case "burnt":
		for end := time.Now().Add(50 * time.Millisecond); time.Now().Before(end); {
		}
		return 0
	}
	return 99
}
