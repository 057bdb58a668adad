package serve

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Config is the settings of a server, defaults filled in.
type Config struct {
	Model       string // positional; a name and nothing more
	ServedNames []string
	Host        string // "" is every interface
	Port        int
	APIKeys     []string

	MaxModelLen      int // 0: the profile's
	MaxNumSeqs       int // 0: the profile's
	MaxBatchedTokens int // 0: the profile's
	BlockSize        int
	KVCacheBytes     int64 // 0: the profile's
	NumBlocks        int   // 0: by KVCacheBytes
	MemoryShare      float64
	PrefixCaching    bool
	TPSize           int
	PPSize           int
	DPSize           int
	DPRank           int
	Seed             int64

	ShutdownTimeout     time.Duration
	RequestIDHeaders    bool
	PromptTokensDetails bool
	LoadTracking        bool
	ForceIncludeUsage   bool

	EnableLoRA bool
	LoRAs      []LoRA

	KV *KVTransfer
}

// KVTransfer is --kv-transfer-config.
type KVTransfer struct {
	Connector string `json:"kv_connector"`
	Role      string `json:"kv_role"`
	EngineID  string `json:"engine_id"`
	OnFailure string `json:"kv_load_failure_policy"`
	Extra     struct {
		Lease      *float64     `json:"kv_lease_duration"`
		Connectors []KVTransfer `json:"connectors"`
	} `json:"kv_connector_extra_config"`
}

// Fetches reports whether the engine may load KV from others.
func (k *KVTransfer) Fetches() bool { return k.Role != "kv_producer" }

// Nixl is the NIXL connector's own settings: the config itself, or the one
// inside a MultiConnector; nil when there is none.
func (k *KVTransfer) Nixl() *KVTransfer {
	if k == nil {
		return nil
	}
	switch k.Connector {
	case "NixlConnector", "NixlPullConnector":
		return k
	case "MultiConnector":
		for i := range k.Extra.Connectors {
			if n := k.Extra.Connectors[i].Nixl(); n != nil {
				return n
			}
		}
	}
	return nil
}

// Lease is how long a prefill keeps blocks; vLLM's default is 30 s.
func (k *KVTransfer) Lease() time.Duration {
	if k.Extra.Lease == nil {
		return 30 * time.Second
	}
	return time.Duration(*k.Extra.Lease * float64(time.Second))
}

// connectors that vLLM knows. Only NIXL's takes part in handoffs here.
var connectors = [...]string{
	"ExampleConnector", "ExampleHiddenStatesConnector", "LMCacheConnectorV1", "LMCacheMPConnector", "NixlConnector",
	"NixlPullConnector", "NixlPushConnector", "MultiConnector", "MoRIIOConnector", "OffloadingConnector",
	"DecodeBenchConnector", "MooncakeConnector", "MooncakeStoreConnector", "FlexKVConnectorV1", "SimpleCPUOffloadConnector",
}

// validate finds what vLLM itself would refuse, with its own kind of error.
func (k *KVTransfer) validate() error {
	if k.Connector == "" {
		return nil
	}
	known := false
	for _, c := range connectors {
		known = known || c == k.Connector
	}
	if !known {
		return fmt.Errorf("Unsupported connector type: %s", k.Connector)
	}
	switch k.Role {
	case "kv_producer", "kv_consumer", "kv_both":
	case "":
		return fmt.Errorf("Please specify kv_role when kv_connector is set, supported roles are kv_producer, kv_consumer, kv_both")
	default:
		return fmt.Errorf("Unsupported kv_role: %s. Supported roles are kv_producer, kv_consumer, kv_both", k.Role)
	}
	switch k.OnFailure {
	case "", "fail", "recompute":
	default:
		return fmt.Errorf("kv_load_failure_policy %q: want fail or recompute", k.OnFailure)
	}
	return nil
}

// kvTransfer turns the flag's object, put together from JSON and dotted forms,
// into its settings.
func kvTransfer(object map[string]any) (*KVTransfer, error) {
	body, err := json.Marshal(object)
	if err != nil {
		return nil, err
	}
	var k KVTransfer
	if err := json.Unmarshal(body, &k); err != nil {
		return nil, fmt.Errorf("--kv-transfer-config: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	if err := k.validate(); err != nil {
		return nil, err
	}
	if k.Connector == "" {
		return nil, nil
	}
	return &k, nil
}
