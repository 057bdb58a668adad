package driver

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/hashicorp/nomad/plugins/drivers"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

// sweep ends an earlier life of the task that nobody remembers: the plugin
// died after it had started an engine and before Nomad had the handle, or
// Nomad could not recover it. One task of one allocation never runs twice, and
// the old engine holds the ports and the GPUs of the new one.
func (d *Driver) sweep(cfg Config, c *drivers.TaskConfig) {
	own := stateDir(cfg, c)
	if exists(own) { // the plugin died within StartTask, and Nomad calls it again
		d.end(c.ID, own)
	}
	i := strings.LastIndex(own, "_") // the suffix is new at every start
	if i < 0 || !strings.Contains(c.ID, "/") {
		return
	}
	others, err := filepath.Glob(globQuote(own[:i]) + "_*")
	if err != nil {
		return
	}
	for _, dir := range others {
		// A sibling task whose name goes on after ours ("a_b" beside "a").
		sibling := strings.Contains(dir[i+1:], "_")
		if dir != own && !sibling && !d.knowsDir(dir) {
			d.end(c.ID[:strings.LastIndex(c.ID, "/")+1]+dir[i+1:], dir)
		}
	}
}

// globQuote takes a path literally.
func globQuote(path string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

func (d *Driver) knowsDir(dir string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, h := range d.tasks {
		if h.state.Dir == dir {
			return true
		}
	}
	return false
}

// end kills the task of a directory.
func (d *Driver) end(id, dir string) {
	ctx, cancel := context.WithTimeout(d.ctx, callTimeout)
	defer cancel()
	client := shim.Client{Dir: dir}
	if err := client.Stop(ctx, syscall.SIGKILL, 0); err == nil {
		_, err = client.Wait(ctx)
		d.log.Warn("ended an engine that nobody remembered", "dir", dir, "error", err)
	}
	// Its supervisor may be dead, or hang; what is left goes by its marker.
	if n, err := shim.KillOrphans(id, shim.Proc{}, ""); n > 0 || err != nil {
		d.log.Warn("killed processes that nobody remembered", "task_id", id, "processes", n, "error", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		d.log.Warn("remove forgotten task", "dir", dir, "error", err)
	}
}
