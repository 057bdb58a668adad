// Probe stands in for an engine while the start of tasks is measured: it
// appends the time of its first statement, in nanoseconds since 1970, to the
// file of START_PROBE_OUT and stays until it is told to stop.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	began := time.Now()
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	if err := note(os.Getenv("START_PROBE_OUT"), began); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	<-stop
}

// note writes the line in one piece, because the bench reads the file meanwhile.
func note(path string, began time.Time) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("write START_PROBE_OUT: %w", err)
	}
	defer f.Close()
	_, err = fmt.Fprintln(f, began.UnixNano())
	return err
}
