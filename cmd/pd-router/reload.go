package main

import (
	"slices"
	"strings"

	"github.com/hashicorp/go-hclog"

	"github.com/nomad-vllm/nomad-vllm/router"
)

// live are the flags that a reload changes; keys change with it as well.
func live() []string { return []string{"log-level", "max-running", "max-waiting", "max-wait"} }

// reload reads the settings again. What is wrong changes nothing; what cannot
// change while the router runs is named.
func reload(old settings, read func() (settings, error), server *router.Server, logger hclog.Logger) settings {
	next, err := read()
	if err == nil {
		err = server.Reload(next.router.Keys, next.router.Limits)
	}
	if err != nil {
		logger.Error("settings are wrong; the old ones stay", "error", strings.ReplaceAll(err.Error(), "\n", "; "))
		return old
	}
	logger.SetLevel(hclog.LevelFromString(next.logLevel))
	var restart []string
	for name, value := range next.values {
		if old.values[name] != value && !slices.Contains(live(), name) {
			restart = append(restart, "-"+name)
		}
	}
	slices.Sort(restart)
	logger.Info("settings were read again", "keys", len(next.router.Keys), "needs_restart", restart)
	// What was not put in place is still to be told the next time.
	next.values = merge(old.values, next.values)
	return next
}

// merge is the values in force: the new ones of what is live, the old ones of
// the rest.
func merge(old, next map[string]string) map[string]string {
	out := map[string]string{}
	for name, value := range old {
		if out[name] = value; slices.Contains(live(), name) {
			out[name] = next[name]
		}
	}
	return out
}
