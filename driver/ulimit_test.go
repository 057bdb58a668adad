package driver

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

func TestUlimits_theTaskWinsOverTheNodeOverTheDefault(t *testing.T) {
	const inf = shim.Unlimited
	files := func(soft, hard uint64, must bool) shim.Rlimit {
		return shim.Rlimit{Name: "nofile", Resource: unix.RLIMIT_NOFILE, Soft: soft, Hard: hard, Must: must}
	}
	locked := func(n uint64, must bool) shim.Rlimit {
		return shim.Rlimit{Name: "memlock", Resource: unix.RLIMIT_MEMLOCK, Soft: n, Hard: n, Must: must}
	}
	type m = map[string]string
	for name, c := range map[string]struct {
		node, top, task m
		transfers       bool
		want            []shim.Rlimit
	}{
		"default":                 {nil, nil, nil, false, []shim.Rlimit{files(maxFiles, maxFiles, false)}},
		"default with transfers":  {nil, nil, nil, true, []shim.Rlimit{locked(inf, false), files(maxFiles, maxFiles, false)}},
		"node":                    {m{"nofile": "4096"}, nil, nil, false, []shim.Rlimit{files(4096, 4096, true)}},
		"task":                    {m{"nofile": "4096"}, nil, m{"nofile": "1024:8192"}, false, []shim.Rlimit{files(1024, 8192, true)}},
		"size":                    {nil, nil, m{"memlock": "8GiB"}, true, []shim.Rlimit{locked(8<<30, true), files(maxFiles, maxFiles, false)}},
		"ceiling lowers defaults": {nil, m{"nofile": "65536", "memlock": "1GiB"}, nil, true, []shim.Rlimit{locked(1<<30, false), files(65536, 65536, false)}},
		"at the ceiling":          {nil, m{"nofile": "65536"}, m{"nofile": "65536"}, false, []shim.Rlimit{files(65536, 65536, true)}},
	} {
		got, err := ulimits(c.node, c.top, c.task, c.transfers)
		require.NoError(t, err, name)
		require.Equal(t, c.want, got, name)
	}
}

func TestUlimits_mistakesAreNamed(t *testing.T) {
	for text, c := range map[string]struct{ top, task map[string]string }{
		`ulimit as: no such limit here (have core, memlock,`:                              {nil, map[string]string{"as": "1"}},
		`ulimit nofile = "many": want "65536", "unlimited", or a soft and a hard limit`:   {nil, map[string]string{"nofile": "many"}},
		`ulimit memlock = "8 blocks": want "8GiB"`:                                        {nil, map[string]string{"memlock": "8 blocks"}},
		`ulimit nofile = "2048:1024": the soft limit is above the hard one`:               {nil, map[string]string{"nofile": "2048:1024"}},
		`ulimit nofile = "64": an engine needs at least 256`:                              {nil, map[string]string{"nofile": "64"}},
		`ulimit nofile = "unlimited": this node allows "65536" at most (ulimit_max of pl`: {map[string]string{"nofile": "65536"}, map[string]string{"nofile": "unlimited"}},
		`ulimit_max nofile = "-2": want`:                                                  {map[string]string{"nofile": "-2"}, nil},
	} {
		_, err := ulimits(nil, c.top, c.task, false)
		require.ErrorContains(t, err, text)
	}
}
