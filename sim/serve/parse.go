package serve

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// UsageError is a command line that vLLM's argument parser refuses; the
// process exits with code 2. Any other error of Parse is one of vLLM's
// configuration checks, exit code 1.
type UsageError struct{ Message string }

func (e *UsageError) Error() string { return e.Message }

func usage(format string, args ...any) error { return &UsageError{fmt.Sprintf(format, args...)} }

// Parse reads the arguments after "serve". getenv finds VLLM_API_KEY. Unknown
// flags are returned as warnings.
func Parse(args []string, getenv func(string) string) (*Config, []string, error) {
	p := &parser{
		cfg: Config{Port: 8000, BlockSize: 16, PrefixCaching: true, TPSize: 1, PPSize: 1, DPSize: 1, MemoryShare: 0.9},
		all: flags(), short: aliases(), args: args, objects: map[string]map[string]any{},
	}
	if err := p.run(); err != nil {
		return nil, nil, err
	}
	c := &p.cfg
	if c.Model == "" {
		c.Model = p.stray // the value of an unknown flag that may have been none
	}
	if c.Model == "" {
		return nil, nil, usage("the following arguments are required: model_tag")
	}
	if key := getenv("VLLM_API_KEY"); key != "" && len(c.APIKeys) == 0 {
		c.APIKeys = []string{key}
	}
	if len(c.ServedNames) == 0 {
		c.ServedNames = []string{c.Model}
	}
	var err error
	if c.KV, err = kvTransfer(p.objects["kv-transfer-config"]); err != nil {
		return nil, nil, err
	}
	return c, p.warnings, c.validate()
}

func (c *Config) validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(c.Port >= 0 && c.Port <= 65535, "--port %d: want 0 to 65535", c.Port)
	check(c.BlockSize > 0, "--block-size %d: must be greater than 0", c.BlockSize)
	check(c.MaxNumSeqs >= 0, "--max-num-seqs %d: must be at least 1", c.MaxNumSeqs)
	check(c.MaxModelLen >= 0, "--max-model-len %d: must be greater than 0", c.MaxModelLen)
	check(c.TPSize > 0, "--tensor-parallel-size %d: must be at least 1", c.TPSize)
	check(c.MemoryShare > 0 && c.MemoryShare <= 1, "--gpu-memory-utilization %v: must be greater than 0 and at most 1", c.MemoryShare)
	check(c.ShutdownTimeout >= 0, "--shutdown-timeout %v: must not be negative", c.ShutdownTimeout)
	return errors.Join(append(errs, c.checkLoRAs())...)
}

// notSimulated are flags with a value whose absence a client would notice.
var notSimulated = [...]string{"config", "uds", "root-path", "ssl-keyfile", "ssl-certfile", "ssl-ca-certs", "middleware"}

type parser struct {
	cfg      Config
	all      map[string]flag
	short    map[string]string
	args     []string
	objects  map[string]map[string]any
	warnings []string
	stray    string
}

func (p *parser) next() (string, bool) {
	if len(p.args) == 0 {
		return "", false
	}
	a := p.args[0]
	p.args = p.args[1:]
	return a, true
}

// peek is the next argument if it can be a value: not a flag, or a negative number.
func (p *parser) peek() (string, bool) {
	if len(p.args) == 0 {
		return "", false
	}
	a := p.args[0]
	if strings.HasPrefix(a, "-") && a != "-" {
		if _, err := strconv.ParseFloat(a, 64); err != nil {
			return "", false
		}
	}
	return a, true
}

func (p *parser) run() error {
	for {
		a, ok := p.next()
		if !ok {
			return nil
		}
		if !strings.HasPrefix(a, "-") {
			if p.cfg.Model != "" {
				return usage("unrecognized arguments: %s", a)
			}
			p.cfg.Model = a
			continue
		}
		if err := p.flag(a); err != nil {
			return err
		}
	}
}

func (p *parser) flag(arg string) error {
	name, value, given := strings.Cut(strings.TrimLeft(arg, "-"), "=")
	name, path, _ := strings.Cut(name, ".")
	if strings.HasPrefix(arg, "--") {
		name = strings.ReplaceAll(name, "_", "-")
	} else if strings.HasPrefix(name, "O") && len(name) > 1 {
		return nil // -O3
	} else if long, ok := p.short[name]; ok {
		name = long
	}
	f, ok := p.all[name]
	if positive, no := strings.CutPrefix(name, "no-"); !ok && no && p.all[positive].kind == toggle {
		f, ok, name = p.all[positive], true, positive
		value, given = "false", true
	}
	if !ok {
		p.unknown(arg, given)
		return nil
	}
	if f.kind == toggle {
		if !given {
			value = "true"
		}
		return p.set(arg, f, value)
	}
	if !given {
		if value, ok = p.peek(); !ok {
			return usage("argument %s: expected one argument", arg)
		}
		_, _ = p.next()
	}
	if slices.Contains(notSimulated[:], name) {
		p.warnings = append(p.warnings, fmt.Sprintf("flag %s is known and not simulated: ignored", arg))
	}
	if f.kind == object {
		return p.object(name, path, value)
	}
	if err := p.set(arg, f, value); err != nil {
		return err
	}
	return p.more(arg, f, given)
}

// more takes the further values of a list. The last argument of all is left
// for the model if there is none yet.
func (p *parser) more(arg string, f flag, given bool) error {
	for f.kind == list && !given {
		v, ok := p.peek()
		if !ok {
			return nil
		}
		_, _ = p.next()
		if err := p.set(arg, f, v); err != nil {
			return err
		}
	}
	return nil
}

func (p *parser) set(arg string, f flag, value string) error {
	var err error
	switch f.kind {
	case whole:
		_, err = strconv.Atoi(value)
	case ratio:
		_, err = strconv.ParseFloat(value, 64)
	}
	if err == nil && f.set != nil {
		err = f.set(&p.cfg, value)
	}
	if _, worded := errors.AsType[*UsageError](err); worded {
		return err
	}
	if err != nil {
		name, _, _ := strings.Cut(arg, "=")
		want := map[kind]string{ratio: "float"}[f.kind]
		if want == "" {
			want = "int"
		}
		return usage("argument %s: invalid %s value: '%s'", name, want, value)
	}
	return nil
}

// object merges a JSON value, or one key of it in the dotted form.
func (p *parser) object(name, path, value string) error {
	into := p.objects[name]
	if into == nil {
		into = map[string]any{}
		p.objects[name] = into
	}
	if path == "" {
		if name != "kv-transfer-config" {
			return nil
		}
		var v map[string]any
		if err := json.Unmarshal([]byte(value), &v); err != nil {
			return usage("argument --%s: Value %s cannot be converted to <function loads>: %v", name, value, err)
		}
		for k, x := range v {
			into[k] = x
		}
		return nil
	}
	keys := strings.Split(path, ".")
	for _, k := range keys[:len(keys)-1] {
		inner, ok := into[k].(map[string]any)
		if !ok {
			inner = map[string]any{}
			into[k] = inner
		}
		into = inner
	}
	last := keys[len(keys)-1]
	var v any
	if err := json.Unmarshal([]byte(value), &v); err != nil {
		v = value
	}
	if list, ok := strings.CutSuffix(last, "+"); ok {
		old, _ := into[list].([]any)
		into[list] = append(old, v)
		return nil
	}
	into[last] = v
	return nil
}

// unknown warns and skips the flag's value, if it seems to have one.
func (p *parser) unknown(arg string, given bool) {
	p.warnings = append(p.warnings, fmt.Sprintf("unknown flag %s: ignored", arg))
	if given {
		return
	}
	v, ok := p.peek()
	if !ok {
		return
	}
	_, _ = p.next()
	if p.cfg.Model == "" {
		p.stray = v
	}
}
