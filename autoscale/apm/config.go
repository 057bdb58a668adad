package apm

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

// The keys of the agent's apm config block.
const (
	keyConsulAddr    = "consul_addr"
	keyConsulToken   = "consul_token"
	keyConsulService = "consul_service"
	keyScrapeTimeout = "scrape_timeout"
)

var knownKeys = []string{keyConsulAddr, keyConsulToken, keyConsulService, keyScrapeTimeout}

// nomadPrefix starts the keys that the agent merges into every plugin's
// config: its own Nomad connection settings, the token included.
const nomadPrefix = "nomad_"

// minScrapeTimeout keeps a missing unit ("2" read as 2ns elsewhere) or a
// wishful setting from making every instance look dead.
const minScrapeTimeout = 10 * time.Millisecond

// Config is the agent's apm config block, typed.
type Config struct {
	// ConsulAddr is Consul's HTTP API. Default CONSUL_HTTP_ADDR, else
	// 127.0.0.1:8500.
	ConsulAddr string
	// ConsulToken is the ACL token. Default CONSUL_HTTP_TOKEN, else none.
	ConsulToken string
	// ConsulService is the name that instances register under. Default "vllm".
	ConsulService string
	// ScrapeTimeout bounds the reading of one instance's metrics. Default 2s.
	ScrapeTimeout time.Duration
}

// ParseConfig reads the agent's config block. It returns every problem at once.
func ParseConfig(config map[string]string) (Config, error) {
	c := Config{
		ConsulAddr:    config[keyConsulAddr],
		ConsulToken:   config[keyConsulToken],
		ConsulService: config[keyConsulService],
		ScrapeTimeout: 2 * time.Second,
	}
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(config)) {
		if !slices.Contains(knownKeys, key) && !strings.HasPrefix(key, nomadPrefix) {
			errs = append(errs, fmt.Errorf("apm config %q: unknown key; want %s", key, strings.Join(knownKeys, ", ")))
		}
	}
	if c.ConsulService == "" {
		c.ConsulService = pd.DefaultService
	}
	if s, ok := config[keyScrapeTimeout]; ok {
		d, err := time.ParseDuration(s)
		if err != nil || d < minScrapeTimeout {
			errs = append(errs, fmt.Errorf("apm config %s = %q: want a time of at least %s, for example \"2s\"", keyScrapeTimeout, s, minScrapeTimeout))
		}
		c.ScrapeTimeout = d
	}
	if len(errs) > 0 {
		return Config{}, errors.Join(errs...)
	}
	return c, nil
}
