package apm

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nomad-vllm/nomad-vllm/autoscale/signal"
	"github.com/nomad-vllm/nomad-vllm/fleet"
)

// usable picks the group's instances that serve. Those that load, drain or
// died are left out: they hold no queue of their own, and an instance that
// still loads must not make the group look less busy than it is.
//
// None at all is an error, which makes the autoscaler do nothing: it is not
// known whether the group is idle, unregistered or misspelt.
func usable(snapshot *fleet.Snapshot, q signal.Query) ([]*fleet.Instance, error) {
	var serving []*fleet.Instance
	var broken []string
	others := map[string]bool{}
	for _, i := range snapshot.Instances {
		namespace := i.Meta.Namespace
		if namespace == "" {
			namespace = signal.DefaultNamespace
		}
		switch {
		case i.Meta.Group != q.Group || i.Meta.Job != q.Job || namespace != q.Namespace:
			others[title(i.Meta.Group, i.Meta.Job, namespace)] = true
		case i.Usable():
			serving = append(serving, i)
		default:
			broken = append(broken, i.ID+": "+i.Unusable)
		}
	}
	group := title(q.Group, q.Job, q.Namespace)
	switch {
	case len(serving) > 0:
		return serving, nil
	case len(broken) > 0:
		return nil, fmt.Errorf("none of the %d instances of %s is usable: %s", len(broken), group, brief(broken))
	case len(others) > 0:
		return nil, fmt.Errorf("no instance of %s, but there is %s", group, brief(slices.Sorted(maps.Keys(others))))
	}
	return nil, fmt.Errorf("no instance of %s, nor of any other group", group)
}

// title is a group as people write it in a query.
func title(group, job, namespace string) string {
	return fmt.Sprintf("%q", group+"/"+job+"@"+namespace)
}

// brief joins at most a few of many: an error goes into the agent's log every
// evaluation, and a large fleet must not flood it.
func brief(all []string) string {
	const most = 4
	if len(all) > most {
		all = append(slices.Clone(all[:most]), fmt.Sprintf("and %d more", len(all)-most))
	}
	return strings.Join(all, "; ")
}
