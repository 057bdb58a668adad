package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router"
	"github.com/nomad-vllm/nomad-vllm/router/admit"
	"github.com/nomad-vllm/nomad-vllm/router/choose"
	"github.com/nomad-vllm/nomad-vllm/router/telemetry"
	"github.com/nomad-vllm/nomad-vllm/router/trace"
)

// settings is what the command line and the environment say.
type settings struct {
	listen       string
	admin        string
	consulAddr   string
	services     addresses
	prefill      addresses
	decode       addresses
	drainTimeout time.Duration
	logLevel     string
	logJSON      bool
	version      bool
	takeover     string
	certFile     string
	keyFile      string
	trace        trace.Config
	telemetry    telemetry.Settings
	router       router.Config
	// values are those of all flags, by name: what a reload is compared with.
	values map[string]string
}

const usage = `Usage: pd-router [flags]

Routes OpenAI requests to vLLM: the prompt to a prefill instance, the answer to
a decode instance. Instances come from Consul (tag pd.role=prefill|decode|both),
or from -prefill and -decode, which turn Consul off.

  pd-router -listen :8000
  pd-router -listen :8000 -prefill http://10.0.0.1:8100 -decode http://10.0.0.2:8200
  pd-router -config router.hcl

Flags:
`

const environment = `
Environment:
  CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN, CONSUL_HTTP_SSL, CONSUL_CACERT, ...
        Consul's usual variables; -consul-addr wins over CONSUL_HTTP_ADDR.
  PD_ROUTER_UPSTREAM_API_KEY
        as -upstream-api-key, without showing it in the process list.

SIGHUP reads the config file again: keys, limits and the log level change at
once; for the rest it says what needs a restart.

Exit codes: 0 stopped by a signal with every request finished, 1 could not start
or cut requests off after -drain-timeout, 2 wrong settings.
`

// parse reads flags and environment and checks everything; the error holds
// every problem, one a line.
func parse(args []string, getenv func(string) string, stderr io.Writer) (settings, error) {
	var s settings
	var apiKey, config string
	below := threshold(choose.DefaultThreshold)
	maxBody := byteSize(router.DefaultMaxBody)
	f := flag.NewFlagSet("pd-router", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&config, "config", "", "HCL `file` with settings; flags win over it")
	f.StringVar(&s.listen, "listen", ":8000", "`address` to serve on, host:port")
	f.StringVar(&s.takeover, "takeover", "", "`path` of a socket by which a router on this host takes over the address of the one before it, which then finishes and exits: not one request fails")
	f.StringVar(&s.certFile, "tls-cert", "", "`file` with the certificate and its chain, PEM: serve TLS, HTTP/2 too. It is read again when it changes")
	f.StringVar(&s.keyFile, "tls-key", "", "`file` with the certificate's key, PEM")
	f.StringVar(&s.trace.Endpoint, "trace-endpoint", "", "`URL` of an OpenTelemetry collector (OTLP over HTTP), http://10.0.0.9:4318 for example; empty: no traces")
	f.Float64Var(&s.trace.Sample, "trace-sample", 0.01, "`share` of the requests that are traced, of those whose clients have not decided")
	f.StringVar(&s.telemetry.StatsdAddress, "statsd-address", "", "`address` of a statsd agent, host:port, to which the metrics are sent every 10 s as well; UDP")
	f.StringVar(&s.telemetry.StatsiteAddress, "statsite-address", "", "`address` of a statsite agent, as -statsd-address; TCP")
	f.StringVar(&s.admin, "admin", defaultAdmin, "`address` for operators: status page, drain, profiles; empty: none")
	f.StringVar(&s.consulAddr, "consul-addr", "", "`address` of Consul's HTTP API (default CONSUL_HTTP_ADDR, else 127.0.0.1:8500)")
	f.Var(&s.services, "consul-service", "`name` that instances register under; may be given several times (default \""+pd.DefaultService+"\")")
	f.Var(&s.prefill, "prefill", "`URL` of a prefill instance; several, or one flag for several; no Consul then")
	f.Var(&s.decode, "decode", "`URL` of a decode instance; as -prefill. A URL given as both serves both")
	f.Var(&maxBody, "max-body", "largest request body, a `size` like 8MiB or 65536")
	f.IntVar(&s.router.PrefillTries, "prefill-tries", router.DefaultPrefillTries, "prefills tried for a request before it is served by a decode alone")
	f.DurationVar(&s.router.PrefillTimeout, "prefill-timeout", router.DefaultPrefillTimeout, "longest time for a prefill to answer")
	f.DurationVar(&s.router.FirstTokenTimeout, "first-token-timeout", router.DefaultFirstTokenTimeout, "longest time for a decode to begin a stream")
	f.DurationVar(&s.router.AnswerTimeout, "answer-timeout", router.DefaultAnswerTimeout, "longest time for a decode to give an answer that is no stream")
	f.DurationVar(&s.router.StallTimeout, "stall-timeout", router.DefaultStallTimeout, "longest time for a stream to stand still")
	f.BoolVar(&s.router.NoFallback, "no-fallback", false, "fail requests that cannot be handed over, instead of having a decode serve them alone")
	f.IntVar(&s.router.Limits.MaxRunning, "max-running", 0, "requests that are served at once; more wait; 0: no limit")
	f.IntVar(&s.router.Limits.MaxWaiting, "max-waiting", admit.DefaultMaxWaiting, "requests that wait; more are sent away with 503")
	f.DurationVar(&s.router.Limits.MaxWait, "max-wait", admit.DefaultMaxWait, "longest wait")
	f.DurationVar(&s.router.InstanceWait, "instance-wait", time.Minute, "longest time for which a request waits for the first instance; 0: it does not")
	f.DurationVar(&s.router.BodyTimeout, "body-timeout", router.DefaultBodyTimeout, "longest time for a client to send its body")
	f.DurationVar(&s.router.WriteTimeout, "write-timeout", router.DefaultWriteTimeout, "longest time for a client to take nothing of its answer")
	f.DurationVar(&s.router.DialTimeout, "dial-timeout", router.DefaultDialTimeout, "longest time to connect to an instance")
	f.Var(policy{&s.router.Choose.Prefill}, "prefill-policy", "how a prefill is chosen, a `policy`: "+policies())
	f.Var(policy{&s.router.Choose.Decode}, "decode-policy", "how a decode is chosen, a `policy` as above")
	f.Var(&below, "local-below", "prompts of which less than this `size` must be computed are not worth a handoff; 0: all are, learn: by measured times")
	f.IntVar(&s.router.Breaker.Failures, "breaker-failures", 5, "failures in a row after which an instance is kept away from")
	f.DurationVar(&s.router.Breaker.Open, "breaker-open", 5*time.Second, "for how long the first time; it doubles with each time in a row")
	f.DurationVar(&s.router.Breaker.MaxOpen, "breaker-max-open", time.Minute, "for how long at most")
	f.Float64Var(&s.router.Breaker.MaxEjected, "breaker-max-ejected", 0.5, "largest `share` of a pool that is kept away from at once; one instance is always left")
	f.DurationVar(&s.router.Choose.SlowStart, "slow-start", 30*time.Second, "time in which a new instance comes to its full share")
	f.StringVar(&apiKey, "upstream-api-key", "", "`key` sent to the instances instead of the client's own (default: the client's is passed on)")
	f.Var(authorities{&s.router.UpstreamCAs}, "upstream-ca", "PEM `file` of who may sign the certificates of https instances (default: the system's)")
	f.DurationVar(&s.drainTimeout, "drain-timeout", 30*time.Second, "longest time to finish requests in flight after SIGTERM or SIGINT")
	f.StringVar(&s.logLevel, "log-level", "info", "trace, debug, info, warn or error")
	f.BoolVar(&s.logJSON, "log-json", false, "log in JSON")
	f.BoolVar(&s.version, "version", false, "print the version and exit")
	if err := f.Parse(spread(args)); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			fmt.Fprint(stderr, usage)
			f.SetOutput(stderr)
			f.PrintDefaults()
			fmt.Fprint(stderr, environment)
		}
		return s, err
	}
	if config != "" {
		keys, err := readFile(config, f)
		if err != nil {
			return s, err
		}
		s.router.Keys = keys
	}
	if apiKey == "" {
		apiKey = getenv("PD_ROUTER_UPSTREAM_API_KEY")
	}
	s.router.UpstreamAPIKey = router.NewSecret(apiKey)
	s.router.MaxBody, s.router.LocalBelow = int64(maxBody), int(below)
	s.trace.Version = version
	s.values = map[string]string{}
	f.VisitAll(func(x *flag.Flag) { s.values[x.Name] = x.Value.String() })
	s.values["upstream-api-key"] = admit.Hash(apiKey) // a change shows, the key does not
	return s, s.validate(f)
}

// spread lets "-prefill A B" stand for "-prefill A -prefill B": a list of
// instances is naturally written so.
func spread(args []string) []string {
	var out []string
	list := ""
	for n := 0; n < len(args); n++ {
		a := args[n]
		switch name := strings.TrimLeft(a, "-"); {
		case a == "--":
			return append(out, args[n:]...)
		case strings.HasPrefix(a, "-"):
			list = ""
			if name == "prefill" || name == "decode" {
				list = a
			}
			out = append(out, a)
			if list != "" && n+1 < len(args) {
				n++
				out = append(out, args[n])
			}
		case list != "":
			out = append(out, list, a)
		default:
			out = append(out, a)
		}
	}
	return out
}

func policies() string {
	var names []string
	for _, p := range choose.Policies() {
		names = append(names, string(p))
	}
	return strings.Join(names, ", ")
}

// validate reports every problem at once.
func (s *settings) validate(f *flag.FlagSet) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if f.NArg() > 0 {
		bad("%q is not a flag; see pd-router -h", f.Arg(0))
	}
	if _, port, err := net.SplitHostPort(s.listen); err != nil {
		bad("-listen %q: want host:port, for example :8000", s.listen)
	} else if n, err := net.LookupPort("tcp", port); err != nil || n < 0 {
		bad("-listen %q: no such port", s.listen)
	}
	fixed := len(s.prefill)+len(s.decode) > 0
	if fixed && (s.consulAddr != "" || len(s.services) > 0) {
		bad("-prefill and -decode turn Consul off; leave out -consul-addr and -consul-service, or the fixed addresses")
	}
	if fixed && len(s.decode) == 0 {
		bad("-prefill without -decode: nobody could write an answer; add -decode URL")
	}
	if _, err := fleet.Static(s.prefill, s.decode); err != nil {
		errs = append(errs, err)
	}
	if s.drainTimeout < 0 {
		bad("-drain-timeout is %v; want 0 or more", s.drainTimeout)
	}
	if s.router.PrefillTries < 1 {
		bad("-prefill-tries is %d; want at least 1", s.router.PrefillTries)
	}
	if s.router.MaxBody == 0 {
		bad("-max-body is 0; want at least 1024 bytes")
	}
	if hclog.LevelFromString(s.logLevel) == hclog.NoLevel {
		bad("-log-level %q: want trace, debug, info, warn or error", s.logLevel)
	}
	if (s.certFile == "") != (s.keyFile == "") {
		bad("-tls-cert and -tls-key belong together: give both or none")
	}
	if err := s.telemetry.Validate(); err != nil {
		errs = append(errs, err)
	}
	if _, err := admit.NewKeys(s.router.Keys); err != nil {
		errs = append(errs, err)
	}
	if err := s.router.Validate(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// indent shows each of several joined errors on a line of its own.
func indent(err error) string {
	return "  " + strings.ReplaceAll(err.Error(), "\n", "\n  ")
}
