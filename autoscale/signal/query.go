package signal

import (
	"fmt"
	"strings"
)

// DefaultNamespace is the Nomad namespace of a query that names none, and of
// an instance that published none.
const DefaultNamespace = "default"

// Query is one signal of one group.
type Query struct {
	Signal    Signal
	Group     string
	Job       string
	Namespace string
}

// ParseQuery reads "<signal>/<group>/<job>[@<namespace>]". A job ID may
// contain slashes, a group name may not.
func ParseQuery(s string) (Query, error) {
	name, rest, _ := strings.Cut(s, "/")
	group, job, _ := strings.Cut(rest, "/")
	namespace := DefaultNamespace
	if at := strings.LastIndex(job, "@"); at >= 0 {
		job, namespace = job[:at], job[at+1:]
	}
	if name == "" || group == "" || job == "" || namespace == "" {
		return Query{}, fmt.Errorf("query %q: want \"<metric>/<group>/<job>[@<namespace>]\", for example %q", s, QueueDepth+"/prefill/pd")
	}
	sig, ok := Lookup(name)
	if !ok {
		return Query{}, fmt.Errorf("query %q: no metric %q; want one of %s", s, name, names())
	}
	return Query{Signal: sig, Group: group, Job: job, Namespace: namespace}, nil
}

// String writes the query in full: equal queries give equal strings.
func (q Query) String() string {
	return q.Signal.Name + "/" + q.Group + "/" + q.Job + "@" + q.Namespace
}
