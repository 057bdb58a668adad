package driver

import (
	"encoding/json"
	"fmt"
	"net"

	"github.com/hashicorp/nomad/plugins/shared/hclspec"

	"github.com/nomad-vllm/nomad-vllm/vllm"
)

// MooncakeStore is the mooncake_store block: a store that instances share, for
// MooncakeStoreConnector or under LMCacheConnectorV1.
type MooncakeStore struct {
	// MasterServerAddress is the store's master, host:port. Required.
	MasterServerAddress string `codec:"master_server_address"`
	// MetadataServer is P2PHANDSHAKE (the default), http://... or etcd://...
	MetadataServer string `codec:"metadata_server"`
	// LocalHostname is this instance's address to its peers. Default: the
	// address of the HTTP port.
	LocalHostname string `codec:"local_hostname"`
	// Protocol is rdma or tcp (the default).
	Protocol string `codec:"protocol"`
	// DeviceName picks RDMA devices. Default: all.
	DeviceName string `codec:"device_name"`
	// GlobalSegmentSize is what this instance gives to the store, "16GiB"; it
	// counts against the task's memory. Default: Mooncake's own.
	GlobalSegmentSize string `codec:"global_segment_size"`
	// LocalBufferSize is its own staging memory, "1GiB". Default: Mooncake's own.
	LocalBufferSize string `codec:"local_buffer_size"`
	// TransferTimeout is for LMCache only. Default 1s.
	TransferTimeout string `codec:"transfer_timeout"`
	// Mode is embedded (the default) or standalone-store, for MooncakeStoreConnector only.
	Mode string `codec:"mode"`
	// Settings are further keys of the store's file.
	Settings map[string]string `codec:"settings"`
}

func mooncakeStoreSpec() *hclspec.Spec {
	return object(map[string]string{
		"master_server_address": "string", "metadata_server": "string", "local_hostname": "string", "protocol": "string",
		"device_name": "string", "global_segment_size": "string", "local_buffer_size": "string", "transfer_timeout": "string",
		"mode": "string", "settings": "map",
	}, nil)
}

// mooncakeStore writes the store's JSON file.
func mooncakeStore(b *builder, kv *KVTransfer, _ *vllm.KVTransferConfig) {
	var m MooncakeStore
	if kv.MooncakeStore != nil {
		m = *kv.MooncakeStore
	}
	settings := b.storeSettings(m)
	if m.TransferTimeout != "" {
		b.fail(fmt.Errorf("kv_transfer.mooncake_store.transfer_timeout %q: only LMCache reads it; remove it", m.TransferTimeout))
	}
	settings["mode"] = "embedded"
	setText(settings, "mode", m.Mode)
	content, err := json.MarshalIndent(settings, "", "  ")
	b.fail(err)
	b.plan.Env["MOONCAKE_CONFIG_PATH"] = b.write("mooncake.json", append(content, '\n'))
	b.plan.Env["MOONCAKE_REQUESTER_LOCAL_HOSTNAME"] = b.storeHostname(m)
}

// storeSettings are the keys that both readers share.
func (b *builder) storeSettings(m MooncakeStore) map[string]any {
	settings := passThrough(m.Settings)
	if _, _, err := net.SplitHostPort(m.MasterServerAddress); err != nil {
		b.fail(fmt.Errorf(`kv_transfer.mooncake_store.master_server_address %q: want host:port of mooncake_master, "10.0.0.5:50051" for example`, m.MasterServerAddress))
	}
	b.fail(checkProtocol("mooncake_store", m.Protocol))
	settings["metadata_server"], settings["protocol"], settings["device_name"] = "P2PHANDSHAKE", "tcp", m.DeviceName
	setText(settings, "metadata_server", m.MetadataServer)
	setText(settings, "protocol", m.Protocol)
	settings["master_server_address"] = m.MasterServerAddress
	for key, text := range map[string]string{"global_segment_size": m.GlobalSegmentSize, "local_buffer_size": m.LocalBufferSize} {
		if n := b.size("mooncake_store."+key, text); text != "" {
			settings[key] = n
		}
	}
	return settings
}

// storeHostname is where peers reach this instance.
func (b *builder) storeHostname(m MooncakeStore) string {
	if m.LocalHostname != "" {
		return m.LocalHostname
	}
	p, _ := b.port("port", b.Task.Port) // reported with the HTTP port
	return p.HostIP
}
