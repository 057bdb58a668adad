package lint

import (
	"fmt"
	"strconv"
	"time"

	"github.com/nomad-vllm/nomad-vllm/jobspec"
)

const (
	// nomadKillTimeout is Nomad's default, too short for a server that drains.
	nomadKillTimeout = 5 * time.Second
	// clientKillTimeout is the default of a client's max_kill_timeout.
	clientKillTimeout = 30 * time.Second
)

// checkKillTimeout finds servers that Nomad kills while they still write
// answers. --shutdown-timeout is how long vLLM lets them go on; without it the
// driver makes it two thirds of the config's kill_timeout, which is to repeat
// the task's own.
func checkKillTimeout(j *job, r *reporter) {
	for _, s := range j.servers {
		v, told := s.task.attr("kill_timeout"), s.config.attr("kill_timeout")
		kill, ok := v.durationOr(nomadKillTimeout)
		toldKill, toldKnown := told.duration()
		text, i := jobspec.FlagValue(s.args.items, "--shutdown-timeout")
		seconds, err := strconv.Atoi(text)
		drain := time.Duration(seconds) * time.Second
		switch {
		case !ok:
		case i >= 0 && err == nil && kill <= drain:
			r.errorf(v.at, fmt.Sprintf("write kill_timeout = %q", short(drain+10*time.Second)),
				"kill_timeout is %s, and --shutdown-timeout lets vLLM drain for %s: answers are cut off", short(kill), short(drain))
		case i < 0 && toldKnown && toldKill > kill:
			r.errorf(told.at, fmt.Sprintf("write kill_timeout = %q in both", short(toldKill)),
				"config's kill_timeout is %s and the task's is %s: vLLM is told to drain for longer than it lives, and answers are cut off", short(toldKill), short(kill))
		case !v.set:
			r.warnf(s.task.at, `write kill_timeout = "30s"`,
				"task %q has no kill_timeout, and Nomad's default of %s is less than vLLM takes to stop", s.task.name, short(nomadKillTimeout))
		case i < 0 && !told.set && s.ours && s.args.whole:
			r.warnf(s.config.at, fmt.Sprintf("write kill_timeout = %q there too", short(kill)),
				"config of task %q does not repeat its kill_timeout: vLLM drops what it is writing when it is stopped", s.task.name)
		case kill > clientKillTimeout:
			r.warnf(v.at, fmt.Sprintf("set max_kill_timeout = %q on the clients, or stay within %s", short(kill), short(clientKillTimeout)),
				"kill_timeout is %s, and Nomad clients cap it at %s unless told otherwise", short(kill), short(clientKillTimeout))
		}
	}
}
