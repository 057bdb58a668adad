package lint

import (
	"github.com/nomad-vllm/nomad-vllm/jobspec"
	"github.com/nomad-vllm/nomad-vllm/pd"
)

// checkKVTransfer finds servers of one role that have no way to hand KV over.
// vLLM would start them all the same and every request would silently be
// computed twice.
//
// --kv-transfer-config among the arguments is the way round the driver for
// connectors that it does not set up.
func checkKVTransfer(j *job, r *reporter) {
	const block = `kv_transfer {
connector = "NixlConnector"
side_channel_port = "nixl"
}`
	for _, s := range j.servers {
		if !s.ours || !s.config.present() {
			continue
		}
		_, asMap := s.config.body.Attributes[jobspec.KVTransferBlock]
		kv := s.config.first(jobspec.KVTransferBlock)
		switch {
		case asMap:
			r.errorf(s.config.body.Attributes[jobspec.KVTransferBlock].NameRange, "leave out the =: it is a block", "kv_transfer is written as an attribute")
		case s.hasOwnTransfer():
		case !kv.present() && (s.role == pd.RolePrefill || s.role == pd.RoleDecode):
			r.errorf(s.at(), "add "+oneLine(block), "a %s without kv_transfer has no KV to hand over or receive", s.role)
		case kv.present() && !kv.attr("connector").set:
			r.errorf(kv.at, `write connector = "NixlConnector"`, "kv_transfer names no connector")
		}
	}
}

func (s *server) hasOwnTransfer() bool {
	_, i := jobspec.FlagValue(s.args.items, "--kv-transfer-config")
	return i >= 0
}
