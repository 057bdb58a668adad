package vllm

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// LMCacheVersion is a release of LMCache: major, minor, patch.
type LMCacheVersion [3]int

type lmcacheRelease struct {
	version LMCacheVersion
	keys    []string
}

// ParseLMCacheVersion reads "0.5.3"; what follows the three numbers is ignored.
func ParseLMCacheVersion(s string) (v LMCacheVersion, err error) {
	if _, err := fmt.Sscanf(s, "%d.%d.%d", &v[0], &v[1], &v[2]); err != nil {
		return v, fmt.Errorf(`%q: want a version such as "0.5.3"`, s)
	}
	return v, nil
}

// NewestLMCache is the newest release whose keys are known here.
func NewestLMCache() LMCacheVersion {
	known := lmcacheKeys()
	return known[len(known)-1].version
}

func (v LMCacheVersion) String() string { return fmt.Sprintf("%d.%d.%d", v[0], v[1], v[2]) }

// ReadsPDKeys reports which generation it is: since 0.3.7 the hand-over is
// configured by enable_pd and pd_*, before by enable_nixl and nixl_*. A
// generation ignores the other's keys, and the decode then computes every
// prompt itself while both servers are healthy.
func (v LMCacheVersion) ReadsPDKeys() bool { return !v.before(LMCacheVersion{0, 3, 7}) }

func (v LMCacheVersion) before(o LMCacheVersion) bool { return slices.Compare(v[:], o[:]) < 0 }

// Reads reports whether this version's loader knows a key.
func (v LMCacheVersion) Reads(key string) bool {
	known := lmcacheKeys()
	next := slices.IndexFunc(known, func(r lmcacheRelease) bool { return !r.version.before(v) })
	if next < 0 {
		next = len(known) - 1
	}
	if slices.Contains(known[next].keys, key) {
		return true
	}
	return next > 0 && v.before(known[next].version) && slices.Contains(known[next-1].keys, key)
}

// CheckKeys names every key that this version would ignore, with the key that
// it reads instead where there is one.
func (v LMCacheVersion) CheckKeys(keys []string) error {
	var errs []error
	for _, k := range slices.Sorted(slices.Values(keys)) {
		if v.Reads(k) {
			continue
		}
		mend := "remove it"
		if other := v.instead(k); other != "" {
			mend = "write " + other
		}
		errs = append(errs, fmt.Errorf("LMCache %s ignores the key %s; %s", v, k, mend))
	}
	return errors.Join(errs...)
}

// instead is what the other generation's key is called in this one.
func (v LMCacheVersion) instead(key string) string {
	for _, pair := range [][2]string{
		{"enable_nixl", "enable_pd"}, {"enable_xpyd", "enable_pd"}, {"nixl_role", "pd_role"},
		{"nixl_receiver_host", "pd_peer_host"}, {"nixl_receiver_port", "pd_peer_init_port"},
		{"nixl_peer_host", "pd_peer_host"}, {"nixl_peer_init_port", "pd_peer_init_port"}, {"nixl_peer_alloc_port", "pd_peer_alloc_port"},
		{"nixl_proxy_host", "pd_proxy_host"}, {"nixl_proxy_port", "pd_proxy_port"},
		{"nixl_buffer_size", "pd_buffer_size"}, {"nixl_buffer_device", "pd_buffer_device"},
	} {
		if key == pair[0] && v.Reads(pair[1]) {
			return pair[1]
		}
		if key == pair[1] && v.Reads(pair[0]) {
			return pair[0]
		}
	}
	return ""
}

// LMCacheYAML is LMCache's configuration file. The same settings give the same
// bytes.
func LMCacheYAML(settings map[string]any) ([]byte, error) {
	b, err := yaml.Marshal(settings)
	if err != nil {
		return nil, fmt.Errorf("encode LMCache configuration: %w", err)
	}
	return b, nil
}

// LMCacheSettings reads a configuration file that somebody else wrote. It
// quotes nothing of a file that is none: it may be anything.
func LMCacheSettings(content []byte) (map[string]any, error) {
	var settings map[string]any
	if err := yaml.Unmarshal(content, &settings); err != nil {
		return nil, errors.New("not a YAML file of key: value lines")
	}
	name := regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]{0,63}$`)
	for k := range settings {
		if !name.MatchString(k) {
			return nil, errors.New("has a key that is no name of a setting")
		}
	}
	if strings.EqualFold(fmt.Sprint(settings["enable_pd"]), "true") && settings["pd_buffer_size"] == nil {
		return nil, errors.New("enable_pd without pd_buffer_size: LMCache ends the engine at its start; add pd_buffer_size: 1073741824")
	}
	return settings, nil
}
