package lint

import (
	"fmt"
	"strings"
)

// checkRuntime finds servers whose engine is named twice, and those that Nomad
// may place on a node without the runtime that they name.
func checkRuntime(j *job, r *reporter) {
	for _, s := range j.servers {
		v := s.config.attr("runtime")
		name, known := v.text()
		if !s.ours || !known || name == "" {
			continue
		}
		if command := s.config.attr("command"); command.set {
			r.errorf(command.at, "leave one of them out", "task %q has command and runtime %q, and both name the engine", s.task.name, name)
			continue
		}
		attribute := "driver.vllm.runtime." + name + "."
		if name != "default" && !constrains(attribute, j.node, s.group.node, s.task.node) {
			r.warnf(v.at, fmt.Sprintf(`add constraint { attribute = "${attr.%shealthy}" value = "true" }`, attribute),
				"runtime %q of task %q: Nomad may place it on a node that has none of that name", name, s.task.name)
		}
	}
}

// constrains reports whether one of the blocks has a constraint on an
// attribute of that prefix, or one that cannot be read.
func constrains(prefix string, blocks ...node) bool {
	for _, b := range blocks {
		for _, c := range b.blocks("constraint") {
			v := c.attr("attribute")
			if text, known := v.text(); v.set && (!known || strings.Contains(text, "attr."+prefix)) {
				return true
			}
		}
	}
	return false
}
