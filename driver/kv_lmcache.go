package driver

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/hashicorp/nomad/plugins/shared/hclspec"

	"github.com/nomad-vllm/nomad-vllm/vllm"
)

// LMCache is the lmcache block: LMCache inside the engine's process. The
// driver writes its file, in the keys that the given version reads.
type LMCache struct {
	// Version is the LMCache that the engine imports, "0.5.3". Default: that of
	// the installed package, else the plugin's lmcache_version, else the newest
	// that the driver knows, which it says in a task event.
	Version string `codec:"version"`
	// ConfigFile is a file of the job's own, in the task's directory, instead
	// of all that follows. Its keys are checked against the version.
	ConfigFile string `codec:"config_file"`
	// ChunkSize is the number of tokens that are kept together. 0: 256.
	ChunkSize int `codec:"chunk_size"`
	// LocalCPU keeps KV in the node's memory. Default true, but false with pd.
	LocalCPU *bool `codec:"local_cpu"`
	// MaxLocalCPUSize bounds that memory, for each GPU. Default 5GiB.
	MaxLocalCPUSize string `codec:"max_local_cpu_size"`
	// LocalDisk is a directory for KV. Default: none.
	LocalDisk string `codec:"local_disk"`
	// MaxLocalDiskSize bounds it. Default 0: nothing is kept.
	MaxLocalDiskSize string `codec:"max_local_disk_size"`
	// RemoteURL is a store that instances share. Default: that of
	// mooncake_store, else none.
	RemoteURL string `codec:"remote_url"`
	// RemoteSerde is how KV is written there. Default naive.
	RemoteSerde string `codec:"remote_serde"`
	// PD hands KV over from prefill to decode, over NIXL.
	PD *LMCachePD `codec:"pd"`
	// Settings are further keys of LMCache's file.
	Settings map[string]string `codec:"settings"`
	// ExtraConfig is merged into its extra_config.
	ExtraConfig map[string]string `codec:"extra_config"`
}

func lmcacheSpec() *hclspec.Spec {
	return object(map[string]string{
		"version": "string", "config_file": "string", "chunk_size": "number", "local_cpu": "bool", "max_local_cpu_size": "string",
		"local_disk": "string", "max_local_disk_size": "string", "remote_url": "string", "remote_serde": "string",
		"settings": "map", "extra_config": "map",
	}, map[string]*hclspec.Spec{"pd": lmcachePDSpec()})
}

// lmcache writes LMCache's file, or checks the one that the job brings.
func lmcache(b *builder, kv *KVTransfer, cfg *vllm.KVTransferConfig) {
	l := &lmcacheFile{builder: b, role: cfg.Role, store: kv.MooncakeStore, out: map[string]any{}}
	if kv.LMCache != nil {
		l.LMCache = *kv.LMCache
	}
	l.setVersion()
	if path := lmcacheFileOf(b.situation.Env, kv.LMCache); path != "" {
		l.brought(path)
		return
	}
	if l.PD == nil && l.RemoteURL == "" && l.store == nil && cfg.Role != vllm.KVBoth {
		b.fail(fmt.Errorf("kv_transfer.lmcache: nothing hands KV over from %s; add pd { ... }, mooncake_store { ... }, remote_url or config_file", cfg.Role))
	}
	l.local()
	l.remote()
	if l.PD != nil {
		l.pd()
	}
	maps.Copy(l.out, passThrough(l.Settings))
	l.checkKeys("kv_transfer.lmcache", l.version.CheckKeys(slices.Collect(maps.Keys(l.out))))
	b.lmcacheSettings = l.out
	content, err := vllm.LMCacheYAML(l.out)
	b.fail(err)
	b.plan.Env[lmcacheEnv] = b.write("lmcache.yaml", content)
}

// lmcacheEnv names LMCache's file to it.
const lmcacheEnv = "LMCACHE_CONFIG_FILE"

// lmcacheFileOf is the file that the job brings, if any.
func lmcacheFileOf(env map[string]string, l *LMCache) string {
	if l != nil && l.ConfigFile != "" {
		return l.ConfigFile
	}
	return env[lmcacheEnv]
}

// lmcacheFile collects the settings of one file.
type lmcacheFile struct {
	*builder
	LMCache
	version vllm.LMCacheVersion
	known   bool // version is what the engine has, not a guess
	role    vllm.KVRole
	store   *MooncakeStore
	out     map[string]any
}

// setVersion finds the version whose keys are written: that of the block, of
// the installed package, of the plugin's config, or the newest that is known.
func (l *lmcacheFile) setVersion() {
	l.version = vllm.NewestLMCache()
	if l.Version != "" {
		v, err := vllm.ParseLMCacheVersion(l.Version)
		if err != nil {
			l.fail(fmt.Errorf("kv_transfer.lmcache.version %w", err))
			return
		}
		if there, err := vllm.ParseLMCacheVersion(l.Versions["lmcache"]); err == nil && there != v {
			l.fail(fmt.Errorf("kv_transfer.lmcache.version %q, but the engine's LMCache is %s: it would ignore the other's settings; remove version, or choose another runtime",
				l.Version, l.Versions["lmcache"]))
		}
		l.lmcacheGiven, l.version, l.known = l.Version, v, true
		return
	}
	if v, err := vllm.ParseLMCacheVersion(l.builder.version("lmcache")); err == nil {
		l.version, l.known = v, true
		return
	}
	l.Notes = append(l.Notes, fmt.Sprintf("LMCache's version is not known: its settings are those of %s; set kv_transfer.lmcache.version if another one is installed", l.version))
}

// checkKeys leaves it to the known-bad table what a version ignores. One that
// is not known cannot be excused from it.
func (l *lmcacheFile) checkKeys(where string, err error) {
	if err == nil {
		return
	}
	err = fmt.Errorf("%s: %w", where, err)
	if l.known {
		l.ignoredKeys = err
	} else {
		l.fail(err)
	}
}

// brought checks a file of the job's own and points LMCache to it.
func (l *lmcacheFile) brought(path string) {
	if own := l.situation.Env[lmcacheEnv]; own != "" && l.ConfigFile != "" {
		l.fail(fmt.Errorf("kv_transfer.lmcache.config_file %q and env %s = %q: name the file once", l.ConfigFile, lmcacheEnv, own))
	}
	l.ConfigFile, l.Version = "", ""
	if !l.LMCache.empty() || l.store != nil {
		l.fail(fmt.Errorf("kv_transfer.lmcache: the file %q is used as it is; move the block's other settings into it, or leave the file out", path))
	}
	f := l.Brought[path]
	if f.Err == nil {
		l.lmcacheSettings, f.Err = vllm.LMCacheSettings(f.Content)
	}
	where := fmt.Sprintf("LMCache file %q", path)
	if f.Err != nil {
		l.fail(fmt.Errorf("%s: %w", where, f.Err))
	}
	l.checkKeys(where, l.version.CheckKeys(slices.Collect(maps.Keys(l.lmcacheSettings))))
	l.plan.Env[lmcacheEnv] = f.Path
}

func (c LMCache) empty() bool {
	return c.ChunkSize == 0 && c.LocalCPU == nil && c.MaxLocalCPUSize == "" && c.LocalDisk == "" && c.MaxLocalDiskSize == "" &&
		c.RemoteURL == "" && c.RemoteSerde == "" && c.PD == nil && len(c.Settings) == 0 && len(c.ExtraConfig) == 0
}

// local are the settings of this node's own memory and disk.
func (l *lmcacheFile) local() {
	if l.ChunkSize != 0 {
		l.out["chunk_size"] = l.ChunkSize
	}
	if l.LocalCPU != nil {
		l.out["local_cpu"] = *l.LocalCPU
	} else if l.PD != nil {
		l.out["local_cpu"] = false
	}
	setText(l.out, "local_disk", l.LocalDisk)
	for key, text := range map[string]string{"max_local_cpu_size": l.MaxLocalCPUSize, "max_local_disk_size": l.MaxLocalDiskSize} {
		if text != "" {
			l.out[key] = float64(l.size("lmcache."+key, text)) / vllm.GiB
		}
	}
}

// remote are the settings of a store that instances share.
func (l *lmcacheFile) remote() {
	extra := map[string]any{}
	if l.store != nil {
		extra = l.storeSettings(*l.store)
		// LMCache 0.4.7 and newer hand these to Mooncake without their prefix.
		// It ignores master_server_address and device_name, and connects to
		// 127.0.0.1 and picks devices by itself.
		extra["mooncake_master_server_addr"] = l.store.MasterServerAddress
		setText(extra, "mooncake_rdma_devices", l.store.DeviceName)
		extra["local_hostname"] = l.storeHostname(*l.store)
		l.seconds(extra, "transfer_timeout", "mooncake_store.transfer_timeout", l.store.TransferTimeout)
		if l.store.Mode != "" {
			l.fail(fmt.Errorf("kv_transfer.mooncake_store.mode %q: LMCache does not read it; remove it", l.store.Mode))
		}
		if l.RemoteURL == "" {
			l.RemoteURL = "mooncakestore://" + l.store.MasterServerAddress + "/"
		}
	}
	if l.RemoteURL != "" {
		l.out["remote_url"], l.out["remote_serde"] = l.RemoteURL, "naive"
	}
	setText(l.out, "remote_serde", l.RemoteSerde)
	maps.Copy(extra, passThrough(l.ExtraConfig))
	if len(extra) > 0 {
		l.out["extra_config"] = extra
	}
	if strict := (vllm.LMCacheVersion{0, 3, 7}); l.PD != nil && l.RemoteURL != "" && slices.Compare(l.version[:], strict[:]) <= 0 {
		l.fail(fmt.Errorf("kv_transfer.lmcache: pd and a remote store; LMCache %s refuses both together, remove one", l.version))
	}
}

// tensorParallel is the number of workers, each with ports of its own.
func (b *builder) tensorParallel() int {
	n := max(b.Task.TensorParallelSize, 1)
	if v, ok := argValue(b.Task.Args, "--tensor-parallel-size", "-tp"); ok {
		if given, err := strconv.Atoi(v); err == nil && given > 0 {
			n = given
		}
	}
	return n
}
