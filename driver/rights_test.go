package driver_test

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver"
	"github.com/nomad-vllm/nomad-vllm/driver/cgroup"
)

func TestRights_areToldOnce(t *testing.T) {
	var log safeBuffer
	d := driver.New(t.Context(), hclog.New(&hclog.LoggerOptions{Output: &log}))
	var attributes map[string]string
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		ch, err := d.Fingerprint(ctx)
		require.NoError(t, err)
		attributes = map[string]string{}
		for name, a := range (<-ch).Attributes {
			if s, ok := a.GetString(); ok {
				attributes[name] = s
			} else if b, ok := a.GetBool(); ok {
				attributes[name] = strconv.FormatBool(b)
			}
		}
		cancel()
	}
	version, err := cgroup.Version(cgroup.Root)
	want := map[string]string{"driver.vllm.cgroups": map[int]string{0: "none", 1: "v1", 2: "v2"}[version], "driver.vllm.root": "false"}
	said := map[string]int{"the driver runs without root": 1, "no limits of memory and CPU on this node": 0}
	if os.Geteuid() == 0 {
		want["driver.vllm.root"] = "true"
		said["the driver runs without root"] = 0
	}
	if err != nil {
		said["no limits of memory and CPU on this node"] = 1
	}
	require.Subset(t, attributes, want)
	for text, times := range said {
		require.Equal(t, times, strings.Count(log.String(), text), "%q in %s", text, log.String())
	}
}
