package main

import (
	"fmt"
	"time"

	"github.com/nomad-vllm/nomad-vllm/bench/router/peer"
	"github.com/nomad-vllm/nomad-vllm/bench/router/proc"
)

// settle is how long a router may need to put away what it knows of requests
// whose answers the client already has.
const settle = 20 * time.Millisecond

// cost is the CPU time that the peer's processes use for some work, with what
// they do after its last answer; 0 for no process.
func (b *bench) cost(r *peer.Running, work func() error) (time.Duration, error) {
	time.Sleep(settle)
	machine, err := readMachine()
	if err != nil {
		return 0, err
	}
	before, err := readClock(r)
	if err != nil {
		return 0, err
	}
	if err := work(); err != nil {
		return 0, err
	}
	time.Sleep(settle)
	used, err := before.elapsed(r)
	if err != nil {
		return 0, err
	}
	return used, b.others.add(machine)
}

// clock is a reading of CPU clocks by pid, empty for no process.
type clock map[int]time.Duration

func readClock(r *peer.Running) (clock, error) {
	tree, ok := r.Tree()
	if !ok {
		return nil, nil
	}
	return tree.CPU()
}

// elapsed is what the peer has used since the reading.
func (c clock) elapsed(r *peer.Running) (time.Duration, error) {
	now, err := readClock(r)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", r.Name, err)
	}
	used, err := proc.Between(c, now)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", r.Name, err)
	}
	return used, nil
}

// resident is the peer's memory in MiB, 0 for no process.
func resident(r *peer.Running) (float64, error) {
	tree, ok := r.Tree()
	if !ok {
		return 0, nil
	}
	rss, err := tree.RSS()
	return float64(rss) / (1 << 20), err
}
