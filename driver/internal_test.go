package driver

import (
	"context"
	"testing"

	"github.com/hashicorp/go-hclog"
)

func nullLog() hclog.Logger { return hclog.NewNullLogger() }

func contextWithCancel(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}
