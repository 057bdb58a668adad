package shim

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nomad-vllm/nomad-vllm/driver/cgroup"
	"github.com/nomad-vllm/nomad-vllm/driver/enginelog"
)

const recordVersion = 1

// Record is how a task ended. It is written once, after the last of the
// task's processes is gone.
type Record struct {
	Version    int       `json:"version"`
	TaskID     string    `json:"task_id"`
	ExitCode   int       `json:"exit_code"` // of the engine; 0 if a signal ended it
	Signal     int       `json:"signal"`    // that ended the engine; 0: it exited by itself
	OOM        bool      `json:"oom"`       // the kernel killed a process of the task for memory
	StopAsked  bool      `json:"stop_asked"`
	StartedAt  time.Time `json:"started_at"`
	FinishedAt time.Time `json:"finished_at"`
	// Tail is the end of what the engine wrote, both streams, oldest first.
	Tail []string `json:"tail,omitempty"`
	// Cause is what the log gives away about the end; nil: nothing that is known.
	Cause *enginelog.Finding `json:"cause,omitempty"`
	// OOMs and Memory say how that came about; nil without OOM.
	OOMs   *cgroup.OOM    `json:"ooms,omitempty"`
	Memory *cgroup.Memory `json:"memory,omitempty"`
	// Left says which processes would not die; empty: none is left.
	Left string `json:"left,omitempty"`
	// Dropped counts the bytes of log that nobody read in time.
	Dropped int64 `json:"dropped,omitempty"`
}

// ErrNoRecord: the task has not ended, or its shim was killed before it could write.
var ErrNoRecord = errors.New("no exit record")

// ReadRecord reads the exit record of a task from its directory.
func ReadRecord(dir, taskID string) (Record, error) {
	path := filepath.Join(dir, recordFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return Record{}, fmt.Errorf("%w in %s", ErrNoRecord, dir)
	}
	if err != nil {
		return Record{}, fmt.Errorf("read exit record: %w", err)
	}
	r, err := decodeRecord(b, taskID)
	if err != nil {
		return Record{}, fmt.Errorf("read exit record %s: %w", path, err)
	}
	return r, nil
}

func decodeRecord(b []byte, taskID string) (Record, error) {
	var r Record
	if err := json.Unmarshal(b, &r); err != nil {
		return Record{}, err
	}
	if r.Version != recordVersion || r.TaskID != taskID {
		return Record{}, fmt.Errorf("version %d of task %q: want version %d of %q", r.Version, r.TaskID, recordVersion, taskID)
	}
	return r, nil
}

// write puts the record on disk so that a reader sees all of it or nothing,
// a crash of the machine included.
func (r Record) write(dir string) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode exit record: %w", err)
	}
	tmp := filepath.Join(dir, recordFile+".tmp")
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("create exit record: %w", err)
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write exit record: %w", err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, recordFile)); err != nil {
		return fmt.Errorf("publish exit record: %w", err)
	}
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync exit record: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
