package telemetry

import (
	"errors"
	"fmt"
	"net"

	"github.com/armon/go-metrics"
)

// Settings say where the numbers go. An empty address: not there.
type Settings struct {
	// StatsdAddress takes UDP, StatsiteAddress TCP: "127.0.0.1:8125".
	StatsdAddress, StatsiteAddress string
}

// On reports whether there is anywhere to send to.
func (s Settings) On() bool { return s != Settings{} }

// Validate returns every mistake.
func (s Settings) Validate() error {
	var errs []error
	for _, a := range []struct{ name, address string }{
		{"-statsd-address", s.StatsdAddress}, {"-statsite-address", s.StatsiteAddress},
	} {
		if a.address == "" {
			continue
		}
		if host, port, err := net.SplitHostPort(a.address); err != nil || host == "" || port == "" {
			errs = append(errs, fmt.Errorf("%s %q: want host:port, for example 127.0.0.1:8125", a.name, a.address))
		}
	}
	return errors.Join(errs...)
}

// open starts a goroutine for each address; Shutdown ends them.
func (s Settings) open() (to metrics.FanoutSink, err error) {
	if s.StatsdAddress != "" {
		sink, err := metrics.NewStatsdSink(s.StatsdAddress)
		if err != nil {
			return to, err
		}
		to = append(to, sink)
	}
	if s.StatsiteAddress != "" {
		sink, err := metrics.NewStatsiteSink(s.StatsiteAddress)
		if err != nil {
			return to, err
		}
		to = append(to, sink)
	}
	return to, nil
}
