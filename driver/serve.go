package driver

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/nomad/plugins"
)

// Serve is the plugin process's whole life.
func Serve() {
	// An agent that was killed no longer reads what the plugin logs. Without a
	// taker for SIGPIPE the next line would end the plugin, and with it the
	// supervision that the next agent counts on.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	plugins.ServeCtx(func(ctx context.Context, log hclog.Logger) any { return New(ctx, log) })
}
