package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/nomad-vllm/nomad-vllm/fleet"
	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/router"
)

// settings is what the command line and the environment say.
type settings struct {
	listen       string
	consulAddr   string
	services     addresses
	prefill      addresses
	decode       addresses
	drainTimeout time.Duration
	logLevel     string
	logJSON      bool
	version      bool
	router       router.Config
}

// addresses is a flag that may be given several times, or once with commas.
type addresses []string

func (a *addresses) String() string { return strings.Join(*a, ",") }

func (a *addresses) Set(s string) error {
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			*a = append(*a, part)
		}
	}
	return nil
}

// byteSize is a flag like 32MiB; a bare number is bytes.
type byteSize int64

func (b *byteSize) String() string {
	if n := int64(*b); n > 0 && n%(1<<20) == 0 {
		return strconv.FormatInt(n>>20, 10) + "MiB"
	}
	return strconv.FormatInt(int64(*b), 10)
}

func (b *byteSize) Set(s string) error {
	factor := int64(1)
	for _, unit := range []struct {
		suffix string
		factor int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}} {
		if n, ok := strings.CutSuffix(s, unit.suffix); ok {
			s, factor = n, unit.factor
		}
	}
	n, err := strconv.ParseInt(strings.TrimSpace(s), 10, 64)
	if err != nil || n < 0 || n > (1<<40)/factor {
		return errors.New("want a size like 32MiB")
	}
	*b = byteSize(n * factor)
	return nil
}

const usage = `Usage: pd-router [flags]

Routes OpenAI requests to vLLM: the prompt to a prefill instance, the answer to
a decode instance. Instances come from Consul (tag pd.role=prefill|decode|both),
or from -prefill and -decode, which turn Consul off.

  pd-router -listen :8000
  pd-router -listen :8000 -prefill http://10.0.0.1:8100 -decode http://10.0.0.2:8200

Flags:
`

const environment = `
Environment:
  CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN, CONSUL_HTTP_SSL, CONSUL_CACERT, ...
        Consul's usual variables; -consul-addr wins over CONSUL_HTTP_ADDR.
  PD_ROUTER_UPSTREAM_API_KEY
        as -upstream-api-key, without showing it in the process list.

Exit codes: 0 stopped by a signal with every request finished, 1 could not start
or cut requests off after -drain-timeout, 2 wrong settings.
`

// parse reads flags and environment and checks everything; the error holds
// every problem, one a line.
func parse(args []string, getenv func(string) string, stderr io.Writer) (settings, error) {
	var s settings
	var apiKey string
	maxBody := byteSize(router.DefaultMaxBody)
	f := flag.NewFlagSet("pd-router", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&s.listen, "listen", ":8000", "`address` to serve on, host:port")
	f.StringVar(&s.consulAddr, "consul-addr", "", "`address` of Consul's HTTP API (default CONSUL_HTTP_ADDR, else 127.0.0.1:8500)")
	f.Var(&s.services, "consul-service", "`name` that instances register under; may be given several times (default \""+pd.DefaultService+"\")")
	f.Var(&s.prefill, "prefill", "`URL` of a prefill instance; several, or one flag for several; no Consul then")
	f.Var(&s.decode, "decode", "`URL` of a decode instance; as -prefill. A URL given as both serves both")
	f.Var(&maxBody, "max-body", "largest request body, a `size` like 8MiB or 65536")
	f.IntVar(&s.router.PrefillTries, "prefill-tries", router.DefaultPrefillTries, "prefills tried for a request before it is served by a decode alone")
	f.DurationVar(&s.router.PrefillTimeout, "prefill-timeout", router.DefaultPrefillTimeout, "longest time for a prefill to answer")
	f.DurationVar(&s.router.DialTimeout, "dial-timeout", router.DefaultDialTimeout, "longest time to connect to an instance")
	f.StringVar(&apiKey, "upstream-api-key", "", "`key` sent to the instances instead of the client's own (default: the client's is passed on)")
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
	if apiKey == "" {
		apiKey = getenv("PD_ROUTER_UPSTREAM_API_KEY")
	}
	s.router.UpstreamAPIKey = router.NewSecret(apiKey)
	s.router.MaxBody = int64(maxBody)
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
	if err := s.router.Validate(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// indent shows each of several joined errors on a line of its own.
func indent(err error) string {
	return "  " + strings.ReplaceAll(err.Error(), "\n", "\n  ")
}
