package driver

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nomad-vllm/nomad-vllm/vllm"
)

// knownBad is a combination that is known not to work: a line of the table.
type knownBad struct {
	id       string
	when     condition
	severity severity
	reason   string // what happens then
	source   string // who found it
	wayOut   string
}

type severity string

const (
	// fatal keeps a task from starting unless it allows the row.
	fatal severity = "fatal"
	// warn is a task event.
	warn severity = "warning"
)

const (
	nixlPull = vllm.NixlPullConnector
	nixlPush = vllm.NixlPushConnector
	lmcacheV = vllm.LMCacheConnectorV1
	lmcacheM = vllm.LMCacheMPConnector
)

// knownBads is the table. A version in it is a package's as it is installed; a
// row about one that is not known does not hold. docs/known-bad.md repeats it.
func knownBads() []knownBad {
	return []knownBad{
		{"lmcache-wrong-text", all(uses(lmcacheV), has("vllm", ">= 0.26")), fatal, "LMCache in the engine's process misreads vLLM's packed KV layout: every hit answers wrong text, with status 200", "measured with vLLM 0.26.0 and LMCache 0.5.3; vllm #52617, LMCache #4463, #4614", "use MultiConnector with NixlConnector and LMCacheMPConnector, or a runtime with vLLM 0.25"},
		{"lmcache-old-keys", all(ignoredKeys(), has("lmcache", ">= 0.3.7")), fatal, "what LMCache ignores it does without: both servers are healthy, and the decode computes every prompt itself", "measured with LMCache 0.3.7 to 0.5.6; LMCache #1579", "write the keys of the installed version"},
		{"lmcache-new-keys", all(ignoredKeys(), has("lmcache", "< 0.3.7")), fatal, "what LMCache ignores it does without, up to 0.3.3 without a word: the decode computes every prompt itself", "measured with LMCache 0.3.1 to 0.3.6", "write the keys of the installed version, or install LMCache 0.3.7 or newer"},
		{"lmcache-torch", all(uses(lmcacheV, lmcacheM), has("lmcache", ">= 0.5.4"), has("torch", ">= 2.11, < 2.12")), fatal, "LMCache's wheel does not load: undefined symbol", "measured with LMCache 0.5.4 to 0.5.6 on PyTorch 2.11", "install LMCache 0.5.3, or build LMCache against this PyTorch"},
		{"lmcache-no-gpu", all(uses(lmcacheV), noGPU()), fatal, "LMCache in the engine's process has no connector for CPUs: the server becomes healthy and caches nothing", "measured with vLLM 0.32.0 and LMCache 0.5.6", "reserve a GPU, or use LMCacheMPConnector, which works without one"},
		{"lmcache-store-address", all(uses(lmcacheV), storeWithoutAddress(), has("lmcache", ">= 0.4.7")), fatal, "LMCache ignores the address in remote_url and connects to 127.0.0.1:50051: 88 s of retries, a healthy server, a segmentation fault at the first request", "measured with Mooncake 0.3.13.post1", "set extra_config { mooncake_master_server_addr }, or use the mooncake_store block, which does"},
		{"lmcache-plain-request", all(uses(lmcacheV), asyncSender(), has("lmcache", ">= 0.4.7, < 0.5.7")), warn, "a request without disagg_spec kills the prefill's engine: a probe or a warm-up is enough", "measured with LMCache 0.5.3, pd_backend_mode async", `set lmcache { settings { pd_backend_mode = "sync" } }`},
		{"lmcache-mp-hybrid", all(uses(lmcacheM), without("--disable-hybrid-kv-cache-manager")), warn, "vLLM's LMCacheMPConnector is made for one kind of KV cache: with a hybrid model (Mamba, sliding windows) the text can be wrong", "LMCache #4247 with vLLM 0.26; vLLM's own documentation", `add "--disable-hybrid-kv-cache-manager" to args`},
		{"lmcache-mp-no-gpu", all(uses(lmcacheM), noGPU()), warn, "vLLM hangs at its start if the LMCache server asks for a GPU's way of transfer", "measured with vLLM 0.32.0 and LMCache 0.5.6", "start `lmcache server` with --supported-transfer-mode auto"},
		{"lmcache-mp-multi", all(uses(vllm.MultiConnector), uses(lmcacheM), has("vllm", "< 0.24")), warn, "LMCache's offloading does not work as a part of MultiConnector", "vllm #46865", "use vLLM 0.26 or newer"},
		{"nixl-kv-both", usesAs(vllm.KVBoth, vllm.NixlConnector, nixlPull, nixlPush), warn, `kv_role "kv_both" is deprecated in vLLM for NIXL connectors; it works`, "vLLM's own warning", "give prefill and decode groups of their own"},
		{"nixl-no-connector", all(uses(vllm.NixlConnector, lmcacheV), has("vllm", ">= 0.8.5, < 0.9")), fatal, "this vLLM has no such connector: it came with 0.9.0", "dynamo #1345, LMCache #976", "use vLLM 0.9 or newer"},
		{"nixl-no-push", all(uses(nixlPush), has("vllm", "< 0.23")), fatal, "this vLLM has no such connector", "vllm #35264 of 2026-06-12", "use NixlConnector, or a newer vLLM"},
		{"nixl-rank-ports", all(uses(vllm.NixlConnector), has("vllm", "< 0.11"), severalRanks()), warn, "each tensor-parallel rank has a side channel of its own, at port + data-parallel rank * tensor-parallel size + rank: another task may be given that port", "vLLM's source", "reserve those ports too, or use a newer vLLM, with a port for each data-parallel rank"},
		{"nixl-decode-pp", all(usesAs(vllm.KVConsumer, vllm.NixlConnector, nixlPull, nixlPush), pipeline()), fatal, "a decode cannot be pipeline-parallel: NotImplementedError at the start", "vLLM's source; vllm #45880", "use tensor_parallel_size on the decode"},
		{"nixl-prefill-pp", all(usesAs(vllm.KVProducer, vllm.NixlConnector, nixlPull), pipeline()), fatal, "a prefill that is read from cannot be pipeline-parallel", "vllm #40674, #45880", "use NixlPushConnector on both sides, or tensor_parallel_size"},
		{"nixl-push-bidirectional", all(uses(nixlPush), extraIs("bidirectional_kv_xfer", "true")), fatal, "the push connector does not hand KV back", "vLLM's documentation", "remove it from extra, or use NixlConnector"},
		{"nixl-two", severalNixl(), fatal, "both answer with the same keys: every prefill ends with `Key clash in kv_transfer_params`", "vLLM's source", "keep one of them"},
		{"nixl-cpu-buffer", all(uses(vllm.NixlConnector, nixlPull, nixlPush), noGPU(), bufferDevice("cuda"), has("vllm", ">= 0.9")), fatal, "vLLM on CPU stages KV in memory only: RuntimeError at the start", "vLLM's source", `set kv_buffer_device = "cpu" or leave it out`},
		{"nixl-expandable-segments", all(uses(vllm.NixlConnector, nixlPull, nixlPush), allocConf("expandable_segments:True")), warn, "memory of expandable segments cannot be shared by CUDA IPC: transfers on one host fall back to TCP or fail", "nixl #1754", "remove it from the task's env"},
		{"nixl-abort-timeout", all(uses(vllm.NixlConnector, nixlPull, nixlPush), env("VLLM_NIXL_ABORT_REQUEST_TIMEOUT"), has("vllm", ">= 0.22")), warn, "vLLM no longer reads it: blocks are freed when their lease ends", "vllm #41383", "remove it, and set kv_transfer.lease"},
		{"nixl-1.0", all(uses(vllm.NixlConnector, nixlPull, nixlPush), has("nixl", ">= 1.0, < 1.1")), warn, "its wheels were built for CUDA 12 and do not load with CUDA 13: libcudart.so.12 not found", "vllm #42364", "install nixl 1.1 or newer"},
		{"nixl-1.3.0", all(uses(vllm.NixlConnector, nixlPull, nixlPush), has("nixl", ">= 1.3, < 1.3.1")), warn, "it failed vLLM's own tests of prefill and decode", "vllm #45843", "install nixl 1.3.2, or 1.5.1, which were tried"},
		{"mooncake-no-gpu", all(uses(vllm.MooncakeConnector, vllm.MooncakeStoreConnector), noGPU(), has("vllm", ">= 0.32, < 0.33")), fatal, "the connector asks for a CUDA device and fails at the start", "measured with vLLM 0.32.0 and Mooncake 0.3.13.post1", "reserve a GPU, or use NixlConnector, which works without one"},
		{"offloading-no-gpu", all(uses(vllm.OffloadingConnector), noGPU(), has("vllm", ">= 0.9")), warn, "it offloads from GPUs only (CUDA, ROCm, XPU)", "vLLM's source", "reserve a GPU, or remove kv_transfer"},
		{"kv-buffer-size", all(bufferSize(), has("vllm", ">= 0.32")), fatal, "vLLM no longer starts with kv_buffer_size", "tried with vLLM 0.32", "remove it, and tell your connector by extra"},
		{"mig-uuid", all(mig(), has("vllm", "< 0.23")), fatal, "vLLM reads the UUID of a MIG instance as a number: invalid literal for int()", "vllm #20939, #41848", "use vLLM 0.23 or newer, or whole GPUs"},
		{"no-shutdown-timeout", all(flagged(shutdownTimeout), has("vllm", "< 0.18")), fatal, "this vLLM does not know the flag and does not start", "vllm #34730, in 0.18", "remove kill_timeout from the config block (Nomad's own stays); answers are cut off at a stop"},
	}
}

// knownBad compares the finished plan with the table.
func (b *builder) knownBad() {
	var ids []string
	for _, row := range knownBads() {
		ids = append(ids, row.id)
		found, holds := row.when.holds(b)
		allowed := slices.Contains(b.Task.AllowKnownBad, row.id)
		text := fmt.Sprintf("%s: %s (%s)", found, row.reason, row.source)
		switch {
		case !holds && allowed:
			b.Notes = append(b.Notes, fmt.Sprintf("allow_known_bad has %q, which is not the case here; remove it", row.id))
		case holds && allowed:
			b.Notes = append(b.Notes, fmt.Sprintf("KNOWN BAD, allowed by allow_known_bad %q: %s", row.id, text))
		case holds && row.severity == fatal:
			b.fail(fmt.Errorf("known bad: %s. To do: %s; or accept it with allow_known_bad = [%q]", text, row.wayOut, row.id))
		case holds:
			b.Notes = append(b.Notes, fmt.Sprintf("Known problem %q: %s. To do: %s", row.id, text, row.wayOut))
		}
	}
	for _, id := range b.Task.AllowKnownBad {
		if !slices.Contains(ids, id) {
			b.fail(fmt.Errorf("allow_known_bad has %q, which is none of %s", id, strings.Join(ids, ", ")))
		}
	}
}
