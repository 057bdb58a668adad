package driver

import (
	"testing"

	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/stretchr/testify/require"
)

func TestRecover_withoutAHandleIsRefused(t *testing.T) {
	d := New(t.Context(), nullLog())
	require.EqualError(t, d.RecoverTask(nil), "recover task: no handle")
	require.EqualError(t, d.RecoverTask(&drivers.TaskHandle{}), "recover task: no handle")
}
