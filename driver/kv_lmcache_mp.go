package driver

import (
	"github.com/hashicorp/nomad/plugins/shared/hclspec"

	"github.com/nomad-vllm/nomad-vllm/vllm"
)

// LMCacheMP is the lmcache_mp block: an LMCache server beside the engine, a
// task of the same group.
type LMCacheMP struct {
	// Port labels the port of the `lmcache server`. Required.
	Port string `codec:"port"`
	// Host is its address. Default: the address of the port.
	Host string `codec:"host"`
	// Timeout is how long a message may wait for its answer. Default 300s.
	Timeout string `codec:"timeout"`
	// Heartbeat is the interval between signs of life. Default 10s.
	Heartbeat string `codec:"heartbeat"`
}

func lmcacheMPSpec() *hclspec.Spec {
	return object(map[string]string{"port": "string", "host": "string", "timeout": "string", "heartbeat": "string"}, nil)
}

func lmcacheMP(b *builder, kv *KVTransfer, cfg *vllm.KVTransferConfig) {
	var m LMCacheMP
	if kv.LMCacheMP != nil {
		m = *kv.LMCacheMP
	}
	p, err := b.port("kv_transfer.lmcache_mp.port", m.Port)
	b.fail(err)
	if m.Host == "" {
		m.Host = p.HostIP
	}
	cfg.Extra["lmcache.mp.host"] = "tcp://" + m.Host
	cfg.Extra["lmcache.mp.port"] = p.Number
	b.seconds(cfg.Extra, "lmcache.mp.mq_timeout", "lmcache_mp.timeout", m.Timeout)
	b.seconds(cfg.Extra, "lmcache.mp.heartbeat_interval", "lmcache_mp.heartbeat", m.Heartbeat)
}
