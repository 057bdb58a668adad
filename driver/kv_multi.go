package driver

import (
	"errors"
	"fmt"

	"github.com/nomad-vllm/nomad-vllm/pd"
	"github.com/nomad-vllm/nomad-vllm/vllm"
)

// multi combines connectors: each part is a kv_transfer block of its own.
func multi(b *builder, kv *KVTransfer, cfg *vllm.KVTransferConfig) {
	if len(kv.Parts) == 0 {
		b.fail(errors.New(`kv_transfer: MultiConnector without connectors; add part { connector = "NixlConnector" ... }`))
	}
	role := map[vllm.KVRole]pd.Role{vllm.KVProducer: pd.RolePrefill, vllm.KVConsumer: pd.RoleDecode, vllm.KVBoth: pd.RoleBoth}[cfg.Role]
	seen := map[string]bool{}
	var parts []vllm.KVTransferConfig
	for i := range kv.Parts {
		part := &kv.Parts[i]
		if part.EngineID != "" {
			b.fail(fmt.Errorf("kv_transfer.part.engine_id %q: vLLM gives its parts the whole's engine_id; set it outside of part", part.EngineID))
		}
		if part.Connector == vllm.MultiConnector {
			b.fail(errors.New("kv_transfer.part: a MultiConnector inside a MultiConnector; list its parts instead"))
			continue
		}
		if seen[part.Connector] {
			b.fail(fmt.Errorf("kv_transfer.part: %s twice; both would read the same environment and listen on the same port", part.Connector))
		}
		seen[part.Connector] = true
		p := *part
		p.EngineID = kv.EngineID // NixlPushConnector asks for one
		c := b.connector(role, &p)
		c.EngineID = ""
		parts = append(parts, c)
	}
	cfg.Extra["connectors"] = parts
}
