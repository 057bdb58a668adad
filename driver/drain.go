package driver

import (
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

const (
	shutdownTimeout = "--shutdown-timeout"
	minKill         = 3 * time.Second
)

// drain tells vLLM how long it may finish what it is writing when it is
// stopped. vLLM's own limit is no guarantee (its API process can hang past
// it), so the shim kills what is left at kill_timeout all the same.
func (b *builder) drain() {
	text := b.Task.KillTimeout
	if text == "" {
		return
	}
	kill, err := time.ParseDuration(text)
	if err != nil || kill < minKill {
		b.fail(fmt.Errorf("kill_timeout %q: want a duration of at least %s, the task's own kill_timeout, \"30s\" for example", text, minKill))
		return
	}
	if i, own := findArg(b.Task.Args, shutdownTimeout); own {
		v, _ := argValue(b.Task.Args[i:], shutdownTimeout)
		if s, err := strconv.Atoi(v); err == nil && time.Duration(s)*time.Second >= kill {
			b.fail(fmt.Errorf("args: %s %s is not less than kill_timeout %q: answers would be cut off; remove it from args for %d", shutdownTimeout, v, text, drainFor(kill)))
		}
		return
	}
	b.flag(shutdownTimeout, strconv.Itoa(drainFor(kill)))
}

// drainFor is two thirds of kill_timeout, in whole seconds as vLLM takes it.
// The rest is for the engine to end, which takes seconds after the last request.
func drainFor(kill time.Duration) int { return int(kill * 2 / 3 / time.Second) }

// firstConnectors is the first vLLM whose v1 engine has KV connectors; the old
// engine's have another interface.
const firstConnectors = "0.8.5"

// engineV1 refuses to hand KV over with vLLM's old engine, which has none of
// today's connectors and would fall back or fail minutes later.
func (b *builder) engineV1() error {
	role, err := pd.ParseRole(b.Task.Role)
	if b.Task.KVTransfer == nil && (err != nil || role == pd.RoleBoth) {
		return nil
	}
	if b.situation.Env["VLLM_USE_V1"] == "0" {
		return errors.New("VLLM_USE_V1=0: vLLM's old engine has none of the KV connectors; remove it from the task's env")
	}
	found, old := has("vllm", "< "+firstConnectors).holds(b)
	if old {
		return fmt.Errorf("%s: its v1 engine has no KV connectors (vLLM %s was the first with them), and the old engine none of today's; choose a runtime or command with a newer vLLM, or remove role and kv_transfer", found, firstConnectors)
	}
	return nil
}
