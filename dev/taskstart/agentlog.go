package taskstart

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
)

// beforeDriver is the agent's last line, at TRACE, before it turns to the driver.
const beforeDriver = "finished prestart hooks"

// asked says, by task, at which times Nomad turned to the driver.
type asked map[string][]time.Time

// readAsked reads an agent's log in JSON, which has microseconds.
func readAsked(log io.Reader) (asked, error) {
	out := asked{}
	in := bufio.NewScanner(log)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		if !strings.Contains(in.Text(), beforeDriver) {
			continue
		}
		var line struct {
			Message string    `json:"@message"`
			At      time.Time `json:"@timestamp"`
			Task    string    `json:"task"`
		}
		if err := json.Unmarshal(in.Bytes(), &line); err != nil {
			return nil, fmt.Errorf("read the agent's log: %w in %.200q", err, in.Text())
		}
		if line.Message == beforeDriver && line.Task != "" {
			out[line.Task] = append(out[line.Task], line.At)
		}
	}
	return out, in.Err()
}

// before is the last time before t.
func (a asked) before(task string, t time.Time) (found time.Time, ok bool) {
	for _, at := range a[task] {
		if at.Before(t) && at.After(found) {
			found, ok = at, true
		}
	}
	return found, ok
}
