package shim

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver/enginelog"
)

// FuzzDecodeRecord: a record may be torn, of another task, or not ours at all.
func FuzzDecodeRecord(f *testing.F) {
	const id = "a1/vllm/1"
	good, err := json.Marshal(Record{
		Version: recordVersion, TaskID: id, ExitCode: 1, Signal: 9, OOM: true, StopAsked: true, StartedAt: time.Unix(1, 0).UTC(), FinishedAt: time.Unix(2, 5).UTC(),
		Tail: []string{"a", "b"}, Cause: &enginelog.Finding{ID: "port-taken", Line: "l"}, Left: "17", Dropped: 3,
	})
	require.NoError(f, err)
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte(`{"version":1,"task_id":"other"}`))
	f.Add([]byte(`{"version":1e99}`))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := decodeRecord(data, id)
		if err != nil {
			require.Zero(t, r)
			return
		}
		require.Equal(t, id, r.TaskID)
		dir := t.TempDir()
		require.NoError(t, r.write(dir))
		back, err := ReadRecord(dir, id)
		require.NoError(t, err)
		requireSameJSON(t, r, back)
	})
}

// FuzzSpec: every byte of a task's command and environment reaches its shim.
func FuzzSpec(f *testing.F) {
	f.Add("/bin/sh", "serve", "A=b", uint32(0), uint32(1), []byte(`{"task_id":"x"}`))
	f.Add("vllm", "<&>\u2028\x00", "É=\"\\", uint32(65534), uint32(1<<31), []byte(`{"user":{"uid":-1}}`))
	f.Add("", "", "", uint32(0), uint32(0), []byte(`{"argv":null,"env":[1]}`))
	f.Fuzz(func(t *testing.T, path, arg, env string, uid, gid uint32, raw []byte) {
		var any Spec
		_ = json.NewDecoder(bytes.NewReader(raw)).Decode(&any) // must not panic
		if !utf8.ValidString(path) || !utf8.ValidString(arg) || !utf8.ValidString(env) {
			return // Nomad's own messages cannot carry it
		}
		in := Spec{TaskID: "a1/vllm/1", Path: path, Argv: []string{path, arg}, Env: []string{env}, User: &Credential{UID: uid, GID: gid, Groups: []uint32{gid}}}
		line, err := json.Marshal(in)
		require.NoError(t, err)
		var out Spec
		require.NoError(t, json.NewDecoder(bytes.NewReader(line)).Decode(&out))
		require.Equal(t, in, out)
	})
}

func requireSameJSON(t *testing.T, a, b any) {
	left, err := json.Marshal(a)
	require.NoError(t, err)
	right, err := json.Marshal(b)
	require.NoError(t, err)
	require.Equal(t, string(left), string(right))
}
