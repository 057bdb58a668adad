package driver

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/nomad/plugins/base"
	"github.com/hashicorp/nomad/plugins/drivers"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
	"github.com/nomad-vllm/nomad-vllm/vllm"
)

// FuzzDecodeState: what Nomad gives back after a restart may be torn or of
// another version; a state that is taken must be safe to act on.
func FuzzDecodeState(f *testing.F) {
	const id = "a1/vllm/1"
	good := taskState{
		Version: stateVersion, Dir: "/alloc/.nomad-driver-vllm/a1_vllm_1", Cgroup: "/sys/fs/cgroup/nomad.slice/a1.vllm.scope",
		Started: shim.Started{Shim: shim.Proc{PID: 17, Start: 1}, Task: shim.Proc{PID: 18, Start: 2}, Boot: "b", At: time.Unix(1e9, 0).UTC()},
	}
	add := func(change func(*taskState)) {
		s := good
		change(&s)
		var h drivers.TaskHandle
		require.NoError(f, h.SetDriverState(&s))
		f.Add(h.DriverState)
		f.Add(h.DriverState[:len(h.DriverState)/2])
	}
	add(func(*taskState) {})
	add(func(s *taskState) { s.Version = 99 })
	add(func(s *taskState) { s.Dir = "/" })
	add(func(s *taskState) { s.Started.Task.PID = -1 })
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		h := &drivers.TaskHandle{Config: &drivers.TaskConfig{ID: id}, DriverState: data}
		s, err := decodeState(h)
		if err != nil {
			require.Zero(t, s)
			return
		}
		require.Greater(t, s.Started.Shim.PID, 1, "signals to 1, 0 and -1 go to init, to ourselves and to everybody")
		require.Greater(t, s.Started.Task.PID, 1)
		require.Equal(t, "a1_vllm_1", filepath.Base(s.Dir), "it is removed in the end")
		require.True(t, filepath.IsAbs(s.Dir))
		again := &drivers.TaskHandle{Config: h.Config}
		require.NoError(t, again.SetDriverState(&s))
		back, err := decodeState(again)
		require.NoError(t, err)
		require.True(t, s.Started.At.Equal(back.Started.At))
		s.Started.At, back.Started.At = time.Time{}, time.Time{}
		require.Equal(t, s, back)
	})
}

// FuzzPlan: whatever a job's config holds, a plan is made or refused, and one
// that is made is what the driver promises.
func FuzzPlan(f *testing.F) {
	add := func(tc TaskConfig, env string) {
		var data []byte
		require.NoError(f, base.MsgPackEncode(&data, &tc))
		f.Add(data, env, uint8(tc.TensorParallelSize))
	}
	for _, s := range goldenCases() {
		add(s.Task, "A=b")
	}
	for _, s := range connectorMistakes() {
		add(s.Task, "LMCACHE_CONFIG_FILE=local/x.yaml")
	}
	add(TaskConfig{
		Model: "/models/x", Role: "both", Port: "http", TensorParallelSize: 2, KillTimeout: "30s",
		Args: []string{"--api-key", "s3cret-one", "--hf-tok=s3cret-two", "--lora-modules", "a=/a", `{"name":"b"}`, "--x", `{"api_key":"s3cret-three"}`, "-dp=2"},
	}, "HF_TOKEN=s3cret-four\nPATH=/bin")
	f.Fuzz(func(t *testing.T, data []byte, env string, count uint8) {
		tc := TaskConfig{Role: "both", Port: defaultPortLabel}
		if base.MsgPackDecode(data, &tc) != nil {
			return
		}
		s := cluster("both", KVTransfer{})
		s.Task, s.Env, s.GPUs = tc, map[string]string{}, gpus{Count: int(count), Visible: "0"}
		for line := range strings.Lines(env) {
			k, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
			s.Env[k] = v
		}
		p, err := newPlan(s)
		event := commandLine(p.Argv, p.Env) // it must not fail for a bad plan either
		if err != nil {
			require.NotEmpty(t, configError(err).Error())
			return
		}
		requirePromises(t, s, p)
		requireNoSecret(t, s, p, event)
	})
}

// requirePromises checks what holds for every plan.
func requirePromises(t *testing.T, s situation, p plan) {
	require.GreaterOrEqual(t, len(p.Argv), 7)
	require.Equal(t, []string{"serve", s.Task.Model}, p.Argv[1:3])
	require.NotEmpty(t, s.Task.Model)
	require.False(t, strings.HasPrefix(s.Task.Model, "-"))
	once := []string{"--host", "--port"}
	if kv := s.Task.KVTransfer; kv != nil {
		once = append(once, "--kv-transfer-config")
		i := slices.Index(p.Argv, "--kv-transfer-config")
		var cfg vllm.KVTransferConfig
		require.NoError(t, json.Unmarshal([]byte(p.Argv[i+1]), &cfg), p.Argv[i+1])
		require.Equal(t, kv.Connector, cfg.Connector)
	}
	for _, size := range []struct {
		flag  string
		typed int
	}{
		{"--tensor-parallel-size", s.Task.TensorParallelSize},
		{"--pipeline-parallel-size", s.Task.PipelineParallelSize},
		{"--data-parallel-size", s.Task.DataParallelSize},
	} {
		if size.typed != 0 {
			once = append(once, size.flag)
		}
	}
	for _, flag := range once {
		n := 0
		for _, a := range p.Argv[3:] {
			if spells(a, flag) {
				n++
			}
		}
		require.Equal(t, 1, n, "%s in %q", flag, p.Argv)
	}
	for _, file := range p.Files {
		require.Equal(t, s.SecretsDir, filepath.Dir(file.Path))
	}
}

// requireNoSecret looks for what the task marks as secret in the event that
// shows its command.
func requireNoSecret(t *testing.T, s situation, p plan, event string) {
	secrets := append(slices.Clone(flagValues(s.Task.Args, "--api-key")), flagValues(s.Task.Args, "--hf-token")...)
	for k, v := range s.Env {
		if strings.HasSuffix(k, "_TOKEN") || strings.HasSuffix(k, "_PASSWORD") {
			secrets = append(secrets, v)
		}
	}
	shown := commandLine(p.Argv[:len(p.Argv)-len(s.Task.Args)], nil) // what is the driver's own is no secret
	for _, v := range secrets {
		if len(v) < shortest || strings.Contains(hidden, v) || strings.Contains(shown, v) {
			continue
		}
		if i := slices.Index(s.Task.Args, v); i >= 0 && strings.Count(strings.Join(s.Task.Args, "\n"), v) > 1 {
			continue // also given where nothing says that it is secret
		}
		require.NotContains(t, event, v)
	}
}
