package driver

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/hashicorp/nomad/plugins/drivers"
	"golang.org/x/sys/unix"

	"github.com/nomad-vllm/nomad-vllm/driver/enginelog"
	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

// outcome is how a task ended: with a record, or with the reason why there is none.
type outcome struct {
	shim.Record
	Lost error
}

const (
	noteLines = 3
	noteBytes = 600

	signalBase = 128
)

// exitResult puts an outcome into Nomad's words, and into the user's where
// Nomad's do not say enough.
func exitResult(o outcome) (*drivers.ExitResult, string) {
	if o.FinishedAt.IsZero() {
		o.FinishedAt = time.Now()
	}
	if o.Lost != nil {
		return &drivers.ExitResult{ExitCode: 1, Err: o.Lost}, "Failed: " + o.Lost.Error()
	}
	r := &drivers.ExitResult{ExitCode: o.ExitCode, Signal: o.Signal, OOMKilled: o.OOM}
	if o.Signal != 0 {
		r.ExitCode = signalBase + o.Signal // as a shell and Nomad's own drivers say it
	}
	if o.StopAsked {
		note := stopNote(o)
		if o.OOM {
			note += "; " + oomNote(o)
		}
		return r, note + leftNote(o)
	}
	if r.Successful() {
		// vLLM exits 0 when its engine dies under it, after one bad request
		// for example. A server that ends unasked has failed: as a success it
		// would be restarted without a failure anywhere, and never in a batch job.
		r.ExitCode = 1
		if o.OOM {
			r.Err = errors.New("the engine exited with code 0 after the kernel had killed a part of it for memory")
			return r, failureNote(o) + leftNote(o)
		}
		r.Err = errors.New("the engine exited with code 0 though nobody had asked it to stop: reported as a failure, because vLLM does so when its engine dies")
	}
	return r, failureNote(o) + leftNote(o)
}

// stopNote tells a stop in order from one that cut answers off.
func stopNote(o outcome) string {
	if o.killed() {
		return fmt.Sprintf("Stopped after %s: killed, because it had not ended within kill_timeout", ran(o))
	}
	return fmt.Sprintf("Stopped after %s (%s)", ran(o), how(o))
}

// killed reports whether the engine did not end by itself.
func (o outcome) killed() bool { return o.Signal == int(unix.SIGKILL) }

func how(o outcome) string {
	if o.Signal != 0 {
		return fmt.Sprintf("signal %d", o.Signal)
	}
	return fmt.Sprintf("exit code %d", o.ExitCode)
}

// leftNote warns of processes that hold on to their GPU after the task.
func leftNote(o outcome) string {
	if o.Left == "" {
		return ""
	}
	return " Left behind: " + o.Left + "; they may hold GPU memory until the node restarts"
}

// failureNote says where a user looks first what happened and what to change,
// or, of a failure that is not known, shows the end of the log.
func failureNote(o outcome) string {
	if o.OOM {
		return fmt.Sprintf("Ended unasked after %s (%s): %s", ran(o), how(o), oomNote(o))
	}
	if o.Cause != nil {
		if f, ok := enginelog.Explain(o.Cause.ID); ok {
			return fmt.Sprintf("Ended unasked after %s (%s): %s", ran(o), how(o), f.Advice(o.Cause.Line))
		}
	}
	tail := o.Tail[max(0, len(o.Tail)-noteLines):]
	if len(tail) == 0 {
		return fmt.Sprintf("Ended unasked after %s (%s), with nothing in its log", ran(o), how(o))
	}
	text := strings.Join(tail, " // ")
	if len(text) > noteBytes {
		text = "..." + text[len(text)-noteBytes:]
	}
	return fmt.Sprintf("Ended unasked after %s (%s). Its last words: %s", ran(o), how(o), strings.ToValidUTF8(text, "?"))
}

// oomNote says whose memory ran out, the task's or the node's, and what helps.
func oomNote(o outcome) string {
	if o.OOMs == nil || o.Memory == nil { // a record of an older supervisor
		return "out of memory: the kernel killed a part of the task. To do: raise resources.memory"
	}
	peak := ""
	if o.Memory.Peak > 0 {
		peak = ", peak " + mib(o.Memory.Peak)
	}
	if o.OOMs.Hits == 0 && !o.Memory.AtLimit() {
		return fmt.Sprintf("the node ran out of memory and the kernel killed %d of the task's processes (no limit of the task was hit%s). To do: reserve what each task uses with resources.memory, and keep memory_max below what the node has", o.OOMs.Kills, peak)
	}
	return fmt.Sprintf("out of memory: the kernel killed %d of the task's processes (limit %s%s). To do: raise resources.memory (or memory_max), or lower what counts against it: offloading.cpu_size, lmcache max_local_cpu_size, mooncake_store segments; see Resources and limits in docs/driver.md",
		o.OOMs.Kills, mib(o.Memory.Limit), peak)
}

func mib(bytes uint64) string { return fmt.Sprintf("%d MiB", bytes/mebibyte) }

func ran(o outcome) time.Duration {
	return o.FinishedAt.Sub(o.StartedAt).Round(100 * time.Millisecond)
}
