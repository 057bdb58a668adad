package driver

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/vllm"
)

// connectors maps each connector that the driver can set up to the function
// that fills in what is its own.
func connectors() map[string]func(*builder, *KVTransfer, *vllm.KVTransferConfig) {
	return map[string]func(*builder, *KVTransfer, *vllm.KVTransferConfig){
		vllm.NixlConnector:          nixl,
		vllm.NixlPullConnector:      nixl,
		vllm.NixlPushConnector:      nixl,
		vllm.LMCacheConnectorV1:     lmcache,
		vllm.LMCacheMPConnector:     lmcacheMP,
		vllm.MooncakeConnector:      mooncake,
		vllm.MooncakeStoreConnector: mooncakeStore,
		vllm.OffloadingConnector:    offloading,
		vllm.MultiConnector:         multi,
	}
}

// connector turns one block, or one part of it, into vLLM's settings.
func (b *builder) connector(role pd.Role, kv *KVTransfer) vllm.KVTransferConfig {
	cfg := vllm.KVTransferConfig{
		Connector: kv.Connector, ModulePath: kv.ModulePath, EngineID: kv.EngineID,
		BufferDevice: kv.KVBufferDevice, Extra: passThrough(kv.Extra),
	}
	var err error
	cfg.Role, err = kvRole(role, kv.KVRole)
	b.fail(err)
	if kv.KVLoadFailurePolicy != "" {
		cfg.LoadFailurePolicy, err = vllm.ParseLoadFailurePolicy(kv.KVLoadFailurePolicy)
		b.fail(inBlock(err))
	}
	b.bufferSize(kv, &cfg)
	b.misplaced(kv)
	if setUp, ok := connectors()[kv.Connector]; ok {
		setUp(b, kv, &cfg)
	} else if !vllm.KnownConnector(kv.Connector) && (kv.ModulePath == "" || kv.Connector == "") {
		b.fail(unknownConnector(kv.Connector))
		if kv.SideChannelPort != "" {
			_, err := b.port(sideChannelPort, kv.SideChannelPort)
			b.fail(err)
		}
	}
	if len(cfg.Extra) == 0 {
		cfg.Extra = nil
	}
	b.used = append(b.used, used(cfg))
	return cfg
}

// bufferSize passes the size on only to a connector that the job brings. None
// that the driver knows reads it (P2pNcclConnector was the last to), and vLLM
// 0.32 does not start with it.
func (b *builder) bufferSize(kv *KVTransfer, cfg *vllm.KVTransferConfig) {
	size := b.size("kv_buffer_size", kv.KVBufferSize)
	if kv.KVBufferSize == "" || !vllm.KnownConnector(kv.Connector) {
		cfg.BufferSize = size
		return
	}
	b.Notes = append(b.Notes, fmt.Sprintf("kv_transfer.kv_buffer_size %q is left out: %s does not read it, and vLLM 0.32 and newer do not start with it", kv.KVBufferSize, kv.Connector))
}

func unknownConnector(name string) error {
	known := slices.Sorted(maps.Keys(connectors()))
	for i := range known {
		known[i] = strconv.Quote(known[i])
	}
	why := "no such connector"
	if name == "" {
		why = "not set"
	}
	return fmt.Errorf("kv_transfer.connector %q: %s; want one of %s, another one of vLLM's with its settings in extra, or your own with module_path",
		name, why, strings.Join(known, ", "))
}

// misplaced refuses settings that the connector would never see.
func (b *builder) misplaced(kv *KVTransfer) {
	const nixlOnly, lm = "Nixl", vllm.LMCacheConnectorV1
	for _, s := range []struct {
		setting string
		set     bool
		of      []string // prefixes
	}{
		{"side_channel_port", kv.SideChannelPort != "", []string{nixlOnly}},
		{"side_channel_host", kv.SideChannelHost != "", []string{nixlOnly}},
		{"lease", kv.Lease != "", []string{nixlOnly}},
		{"backends", len(kv.Backends) > 0, []string{nixlOnly}},
		{"lmcache", kv.LMCache != nil, []string{lm}},
		{"lmcache_mp", kv.LMCacheMP != nil, []string{vllm.LMCacheMPConnector}},
		{"mooncake", kv.Mooncake != nil, []string{vllm.MooncakeConnector}},
		{"mooncake_store", kv.MooncakeStore != nil, []string{vllm.MooncakeStoreConnector, lm}},
		{"offloading", kv.Offloading != nil, []string{vllm.OffloadingConnector}},
		{"part", len(kv.Parts) > 0, []string{vllm.MultiConnector}},
	} {
		if s.set && vllm.KnownConnector(kv.Connector) && !slices.ContainsFunc(s.of, func(p string) bool { return strings.HasPrefix(kv.Connector, p) }) {
			b.fail(fmt.Errorf("kv_transfer.%s: %s does not read it (it is for %s); remove it or change the connector",
				s.setting, kv.Connector, strings.Join(s.of, ", ")))
		}
	}
}

// size reads a size in the field's units; 0: not set.
func (b *builder) size(setting, text string) int64 {
	if text == "" {
		return 0
	}
	n, err := vllm.ParseSize(text)
	if err != nil {
		b.fail(fmt.Errorf("kv_transfer.%s %w", setting, err))
	}
	return n
}

// seconds sets a key to a duration's whole seconds, if there is one.
func (b *builder) seconds(to map[string]any, key, setting, text string) {
	if text == "" {
		return
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second {
		b.fail(fmt.Errorf("kv_transfer.%s %q: want a duration of at least 1s, \"30s\" for example", setting, text))
	}
	to[key] = int(d / time.Second)
}

// setText sets a key unless the value is empty.
func setText(to map[string]any, key, value string) {
	if value != "" {
		to[key] = value
	}
}

// passThrough reads settings of free keys. HCL attributes of one block have
// one type, so a number comes as "4": what parses as JSON is passed as that,
// the rest as the string that it is.
func passThrough(in map[string]string) map[string]any {
	out := map[string]any{}
	for k, v := range in {
		d := json.NewDecoder(strings.NewReader(v))
		d.UseNumber()
		var value any
		if json.Valid([]byte(v)) && d.Decode(&value) == nil {
			out[k] = numbers(value)
		} else {
			out[k] = v
		}
	}
	return out
}

// numbers makes whole numbers whole, which float64 would not keep.
func numbers(v any) any {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		f, _ := v.Float64()
		return f
	case map[string]any:
		for k := range v {
			v[k] = numbers(v[k])
		}
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	}
	return v
}
