package driver_test

import (
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
)

// faultyEngine has the behaviours that the fault table needs.
func faultyEngine(behaviour, arg string, terms <-chan os.Signal) int {
	code, _ := strconv.Atoi(arg)
	usr1 := make(chan os.Signal, 1)
	switch behaviour {
	case "bystander": // must never hear anything
		all := make(chan os.Signal, 16)
		signal.Notify(all)
		say("ready")
		for sig := range all {
			if sig != syscall.SIGURG && sig != syscall.SIGCHLD { // the Go runtime's own
				say("got-" + sig.String())
			}
		}
	case "exit-on-usr1": // with the given code
		signal.Notify(usr1, syscall.SIGUSR1)
		say("ready")
		<-usr1
		return code
	case "core-dies": // and its API server exits 0, as vLLM's does
		cmd := self("hang", "")
		if err := cmd.Start(); err != nil {
			panic(err)
		}
		note("core", cmd.Process.Pid)
		say("ready")
		_ = cmd.Wait()
		if arg == "hang" {
			select {}
		}
		return 0
	case "daemonise": // the leader ends, what it has put into the background stays
		child("orphan", "")
		signal.Notify(usr1, syscall.SIGUSR1)
		say("ready")
		<-usr1
		return code
	case "mute": // closes its output and goes on
		fmt.Println("no more of this")
		_ = syscall.Close(1)
		_ = syscall.Close(2)
		say("ready")
		<-terms
		return 0
	case "numbers": // a batch of numbered lines on each stream at each SIGUSR1
		signal.Notify(usr1, syscall.SIGUSR1)
		say("ready")
		for from := 0; ; from += code {
			select {
			case <-usr1:
				for i := from; i < from+code; i++ {
					fmt.Printf("out %07d %s\n", i, strings.Repeat("x", 80))
					fmt.Fprintf(os.Stderr, "err %07d %s\n", i, strings.Repeat("x", 80))
				}
				say("wrote-" + strconv.Itoa(from+code))
			case <-terms:
				return 0
			}
		}
	}
	return 99
}
