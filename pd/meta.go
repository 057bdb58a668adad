package pd

import (
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Service meta keys, all optional and all strings (Consul allows nothing
// else). A reader ignores keys that it does not know.
const (
	MetaModel           = "pd_model"             // the model name that requests carry
	MetaConnector       = "pd_connector"         // vLLM KV connector, "NixlConnector" for example
	MetaEngineVersion   = "pd_engine_version"    // vLLM's version, informational
	MetaCompat          = "pd_compat"            // two instances pair only if equal
	MetaJob             = "pd_job"               // Nomad job ID
	MetaGroup           = "pd_group"             // Nomad task group
	MetaNamespace       = "pd_namespace"         // Nomad namespace
	MetaAlloc           = "pd_alloc"             // Nomad allocation ID
	MetaSideChannelPort = "pd_side_channel_port" // NIXL side channel, first rank's TCP port
	MetaDPSize          = "pd_dp_size"           // data-parallel ranks behind the one HTTP port, default 1
	MetaKVLease         = "pd_kv_lease"          // seconds that a prefill keeps KV for a decode that has not asked, default 30 (vLLM's kv_lease_duration)
)

// Meta is an instance's service meta, typed.
type Meta struct {
	Model         string
	Connector     string
	EngineVersion string
	// Compat gates pairing: a prefill and a decode are paired only if theirs
	// are equal. vLLM refuses a handoff between engines whose model string,
	// dtype, version or KV layout differ, so whoever rolls one of these out
	// changes this string with it. Empty equals empty.
	Compat          string
	Job             string
	Group           string
	Namespace       string
	Alloc           string
	SideChannelPort int           // 0: not published
	DPSize          int           // at least 1
	KVLease         time.Duration // 0: not published, so vLLM's default
}

// ParseMeta types an instance's service meta. It returns every problem at
// once; the Meta is valid only if the error is nil.
func ParseMeta(m map[string]string) (Meta, error) {
	out := Meta{
		Model:         m[MetaModel],
		Connector:     m[MetaConnector],
		EngineVersion: m[MetaEngineVersion],
		Compat:        m[MetaCompat],
		Job:           m[MetaJob],
		Group:         m[MetaGroup],
		Namespace:     m[MetaNamespace],
		Alloc:         m[MetaAlloc],
		DPSize:        1,
	}
	var errs []error
	number := func(key string, into *int, min, max int) {
		s, ok := m[key]
		if !ok || s == "" {
			return
		}
		n, err := strconv.Atoi(s)
		if err != nil || n < min || n > max {
			errs = append(errs, fmt.Errorf("meta %s = %q: want a whole number from %d to %d", key, s, min, max))
			return
		}
		*into = n
	}
	number(MetaSideChannelPort, &out.SideChannelPort, 1, 65535)
	number(MetaDPSize, &out.DPSize, 1, 1024)
	lease := 0
	number(MetaKVLease, &lease, 1, 24*3600)
	out.KVLease = time.Duration(lease) * time.Second
	if len(errs) > 0 {
		return Meta{}, errors.Join(errs...)
	}
	return out, nil
}

// Map is the inverse of ParseMeta; empty fields are left out.
func (m Meta) Map() map[string]string {
	out := map[string]string{}
	set := func(k, v string) {
		if v != "" {
			out[k] = v
		}
	}
	set(MetaModel, m.Model)
	set(MetaConnector, m.Connector)
	set(MetaEngineVersion, m.EngineVersion)
	set(MetaCompat, m.Compat)
	set(MetaJob, m.Job)
	set(MetaGroup, m.Group)
	set(MetaNamespace, m.Namespace)
	set(MetaAlloc, m.Alloc)
	if m.SideChannelPort != 0 {
		set(MetaSideChannelPort, strconv.Itoa(m.SideChannelPort))
	}
	if m.DPSize > 1 {
		set(MetaDPSize, strconv.Itoa(m.DPSize))
	}
	if m.KVLease != 0 {
		set(MetaKVLease, strconv.Itoa(int(m.KVLease/time.Second)))
	}
	return out
}
