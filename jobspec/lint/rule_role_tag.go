package lint

import (
	"errors"
	"fmt"

	"github.com/nomad-vllm/nomad-vllm/pd"
)

// checkRoleTag compares what Consul will say of a server with what it is.
func checkRoleTag(j *job, r *reporter) {
	for _, s := range j.servers {
		if s.service == nil {
			continue
		}
		tags := s.service.attr("tags")
		role, err := pd.RoleFromTags(s.service.tags)
		switch {
		case errors.Is(err, pd.ErrNoRole):
			if s.service.wholeTag {
				r.errorf(tags.at, "write tags = ["+tagFor(s.role)+"]", "the service has no %s tag, so the router passes it over", pd.TagPrefix+"...")
			}
		case err != nil:
			r.errorf(tags.at, "keep one role tag, "+tagFor(s.role), "%v", err)
		case s.ours && s.role != "" && role != s.role:
			r.errorf(tags.at, "write "+tagFor(s.role)+", or change config.role",
				"the tag says %q and the task's role is %q", role.Tag(), s.role)
		}
	}
}

// tagFor is the tag of a role as one writes it, or an example where the role is not known.
func tagFor(role pd.Role) string {
	if role == "" {
		role = pd.RolePrefill
	}
	return fmt.Sprintf("%q", role.Tag())
}
