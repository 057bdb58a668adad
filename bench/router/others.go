package main

import (
	"os"
	"runtime"
	"time"

	"github.com/nomad-vllm/nomad-vllm/bench/router/proc"
)

// others sums what processes outside the benchmark took while it measured:
// figures of time, unlike those of CPU, are only as good as this is small.
type others struct {
	wall, theirs time.Duration
}

// machine is a reading: the time, the machine's busy time, and our own.
type machine struct {
	at   time.Time
	busy time.Duration
	own  clock
}

func readMachine() (machine, error) {
	busy, err := proc.Busy()
	if err != nil {
		return machine{}, err
	}
	own, err := proc.Tree{Root: os.Getpid()}.CPU() // with the engines and all peers
	return machine{time.Now(), busy, own}, err
}

// add counts what happened since a reading.
func (o *others) add(since machine) error {
	now, err := readMachine()
	if err != nil {
		return err
	}
	own, err := proc.Between(since.own, now.own)
	if err != nil {
		return err
	}
	o.wall += now.at.Sub(since.at)
	o.theirs += max(0, now.busy-since.busy-own)
	return nil
}

// share is their part of all cores' time, 0 to 1.
func (o *others) share() float64 {
	if o.wall == 0 {
		return 0
	}
	return o.theirs.Seconds() / (o.wall.Seconds() * float64(runtime.NumCPU()))
}
