package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/armon/go-metrics"
	metricsprom "github.com/armon/go-metrics/prometheus"
	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Settings say where the numbers go. An empty address: not there.
type Settings struct {
	// StatsdAddress takes UDP, StatsiteAddress TCP: "127.0.0.1:8125".
	StatsdAddress   string `codec:"statsd_address"`
	StatsiteAddress string `codec:"statsite_address"`
	// PrometheusListen is where /metrics is served. It has no
	// authentication: keep it on loopback or a network of your own.
	PrometheusListen string `codec:"prometheus_listen"`
}

// Validate returns every mistake.
func (s Settings) Validate() error {
	var errs []error
	for _, a := range []struct{ name, address string }{
		{"statsd_address", s.StatsdAddress}, {"statsite_address", s.StatsiteAddress}, {"prometheus_listen", s.PrometheusListen},
	} {
		if a.address == "" {
			continue
		}
		host, port, err := net.SplitHostPort(a.address)
		if err != nil || port == "" {
			errs = append(errs, fmt.Errorf("telemetry.%s = %q: want host:port, \"127.0.0.1:9464\" for example", a.name, a.address))
		} else if host == "" {
			errs = append(errs, fmt.Errorf("telemetry.%s = %q: name the address; 127.0.0.1 for this node only, 0.0.0.0 for everybody", a.name, a.address))
		}
	}
	return errors.Join(errs...)
}

// Open sends the numbers where the settings say, until ctx ends.
func (r *Recorder) Open(ctx context.Context, s Settings, log hclog.Logger) {
	sinks := metrics.FanoutSink{r.inmem}
	if s.StatsdAddress != "" {
		if sink, err := metrics.NewStatsdSink(s.StatsdAddress); err == nil {
			sinks = append(sinks, sink)
		}
	}
	if s.StatsiteAddress != "" {
		if sink, err := metrics.NewStatsiteSink(s.StatsiteAddress); err == nil {
			sinks = append(sinks, sink)
		}
	}
	if s.PrometheusListen != "" {
		registry := prometheus.NewRegistry()
		if sink, err := metricsprom.NewPrometheusSinkFrom(definitions(registry)); err == nil {
			sinks = append(sinks, sink)
			go serve(ctx, s.PrometheusListen, registry, log)
		}
	}
	r.send(sinks)
	// Not Shutdown of the sinks: a task that ends just then would send on their
	// closed channel, and panic.
	context.AfterFunc(ctx, func() { r.send(r.inmem) })
	signalled := metrics.NewInmemSignal(r.inmem, metrics.DefaultSignal, logWriter{log})
	context.AfterFunc(ctx, signalled.Stop)
}

// definitions make every metric visible from the start, at zero: an alert on a
// counter that is not there yet never fires.
func definitions(registry *prometheus.Registry) metricsprom.PrometheusOpts {
	o := metricsprom.PrometheusOpts{Registerer: registry, Name: Prefix}
	for _, m := range Metrics() {
		name := []string{Prefix, m.Name}
		switch {
		case m.Kind == Gauge:
			o.GaugeDefinitions = append(o.GaugeDefinitions, metricsprom.GaugeDefinition{Name: name, Help: m.Meaning})
		case m.Kind == Timer:
			o.SummaryDefinitions = append(o.SummaryDefinitions, metricsprom.SummaryDefinition{Name: name, Help: m.Meaning + ", in milliseconds"})
		case m.Label == "":
			o.CounterDefinitions = append(o.CounterDefinitions, metricsprom.CounterDefinition{Name: name, Help: m.Meaning})
		}
		for _, v := range m.Values {
			o.CounterDefinitions = append(o.CounterDefinitions, metricsprom.CounterDefinition{
				Name: name, Help: m.Meaning, ConstLabels: []metrics.Label{{Name: m.Label, Value: v}},
			})
		}
	}
	return o
}

const (
	listenAgain   = 2 * time.Second
	headerTimeout = 5 * time.Second
)

// serve listens until ctx ends. The plugin's last life may still have the
// address when this one begins.
func serve(ctx context.Context, address string, registry *prometheus.Registry, log hclog.Logger) {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: headerTimeout, WriteTimeout: 2 * headerTimeout}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	for said := false; ctx.Err() == nil; {
		l, err := net.Listen("tcp", address)
		if err == nil {
			log.Info("serving metrics", "address", l.Addr().String(), "path", "/metrics")
			err = server.Serve(l)
		}
		if ctx.Err() == nil && !said {
			said = true
			log.Error("serve metrics; trying on", "address", address, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(listenAgain):
		}
	}
}

// logWriter puts a dump of the numbers into the agent's log.
type logWriter struct{ log hclog.Logger }

func (w logWriter) Write(b []byte) (int, error) {
	for line := range bytes.Lines(bytes.TrimSpace(b)) {
		w.log.Info("metric", "value", string(bytes.TrimSpace(line)))
	}
	return len(b), nil
}
