package driver

import (
	"fmt"

	"github.com/hashicorp/nomad/plugins/shared/hclspec"

	"github.com/nomad-vllm/nomad-vllm/vllm"
)

// Offloading is the offloading block: KV that leaves the GPU for the node's
// memory. It needs a GPU.
type Offloading struct {
	// CPUSize is how much memory it may take, "64GiB". Required.
	CPUSize string `codec:"cpu_size"`
	// Spec is vLLM's implementation, CPUOffloadingSpec or TieringOffloadingSpec.
	Spec string `codec:"spec"`
	// BlockSize is the number of tokens in an offloaded block. 0: the engine's own.
	BlockSize int `codec:"block_size"`
	// EvictionPolicy says which blocks go first, "lru" or "arc".
	EvictionPolicy string `codec:"eviction_policy"`
}

func offloadingSpec() *hclspec.Spec {
	return object(map[string]string{"cpu_size": "string", "spec": "string", "block_size": "number", "eviction_policy": "string"}, nil)
}

func offloading(b *builder, kv *KVTransfer, cfg *vllm.KVTransferConfig) {
	var o Offloading
	if kv.Offloading != nil {
		o = *kv.Offloading
	}
	size := b.size("offloading.cpu_size", o.CPUSize)
	if size == 0 {
		b.fail(fmt.Errorf(`kv_transfer.offloading.cpu_size %q: say how much memory it may take, "64GiB" for example`, o.CPUSize))
	}
	cfg.Extra["cpu_bytes_to_use"] = size
	setText(cfg.Extra, "spec_name", o.Spec)
	setText(cfg.Extra, "eviction_policy", o.EvictionPolicy)
	if o.BlockSize != 0 {
		cfg.Extra["block_size"] = o.BlockSize
	}
}
