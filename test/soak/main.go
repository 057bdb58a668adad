// Command soak breaks everything around a real pd-router, at random and under
// load, and checks that nothing is lost and nothing leaks: simulators killed,
// stopped and restarted, answers spoiled, a Consul that flaps, clients that
// leave or read slowly. All of it is on loopback, over 32 clients at most.
//
// Its goroutines: one for each client, one for each thing that makes trouble
// (see trouble.go), one that samples the router's memory, one for each process
// that waits for its end, and net/http's. run waits for all of them.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(command(ctx))
}

func command(ctx context.Context) int {
	var c config
	docs := ""
	flag.StringVar(&c.router, "router", "bin/pd-router", "the pd-router `binary`")
	flag.StringVar(&c.sim, "sim", "bin/vllm-sim", "the vllm-sim `binary`")
	flag.DurationVar(&c.lasts, "for", 10*time.Minute, "how long")
	flag.IntVar(&c.clients, "clients", 24, "clients at once, 32 at most")
	flag.Uint64Var(&c.seed, "seed", uint64(time.Now().UnixNano()), "of the dice; when processes run is not in it")
	flag.StringVar(&docs, "docs", "", "`file` to write the figures into")
	flag.Parse()
	if flag.NArg() > 0 || c.clients < 1 || c.clients > 32 {
		fmt.Fprintln(os.Stderr, "soak: want no arguments and 1 to 32 clients; see -h")
		return 2
	}
	r, err := run(ctx, c)
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		return 1
	}
	fmt.Print(r.text())
	bad := r.broken()
	if docs != "" && len(bad) == 0 {
		if err := r.write(docs); err != nil {
			fmt.Fprintln(os.Stderr, "soak:", err)
			return 1
		}
	}
	for _, b := range bad {
		fmt.Fprintln(os.Stderr, "soak: NOT HELD:", b)
	}
	return min(len(bad), 1)
}
