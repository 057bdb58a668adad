package apm

import "strings"

// agentError is an error as the agent may see it. Agents of 0.4 and 0.5 look
// for two phrases in the text of whatever error a policy's evaluation ends
// with, take them to mean that Nomad is away, and then drop the handlers of
// every policy, ours and others', until a policy changes (nomad-autoscaler
// issue 1334). One engine that refused a scrape, or one Consul that restarts,
// would end all autoscaling without another word in the log. So the phrases
// are said in other words, wherever they came from.
type agentError struct{ err error }

// plain writes an error for the agent; nil stays nil.
func plain(err error) error {
	if err == nil {
		return nil
	}
	return agentError{err}
}

func (e agentError) Error() string {
	return strings.NewReplacer("connection refused", "nothing listens there", "EOF", "end of stream").Replace(e.err.Error())
}

func (e agentError) Unwrap() error { return e.err }
