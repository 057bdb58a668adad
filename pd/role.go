package pd

import (
	"errors"
	"fmt"
	"strings"
)

// Role says which legs of a request an instance may serve.
type Role string

const (
	// RolePrefill serves leg 1: it reads the prompt and keeps the KV cache for a decode.
	RolePrefill Role = "prefill"
	// RoleDecode serves leg 2, and whole requests on the local path.
	RoleDecode Role = "decode"
	// RoleBoth serves either leg.
	RoleBoth Role = "both"
)

// TagPrefix starts the one Consul service tag that carries an instance's role.
const TagPrefix = "pd.role="

// DefaultService is the Consul service name that instances register under and
// that routers and autoscalers watch unless they are told another.
const DefaultService = "vllm"

// ErrNoRole is returned for a tag set without a role tag: the service is not
// part of any prefill/decode deployment.
var ErrNoRole = errors.New("no " + TagPrefix + "... tag")

// ParseRole reads a role as written in a tag or in a job file.
func ParseRole(s string) (Role, error) {
	switch r := Role(s); r {
	case RolePrefill, RoleDecode, RoleBoth:
		return r, nil
	}
	return "", fmt.Errorf("role %q: want one of %q, %q, %q", s, RolePrefill, RoleDecode, RoleBoth)
}

// Tag is the Consul service tag of the role, "pd.role=prefill" for example.
func (r Role) Tag() string { return TagPrefix + string(r) }

// Prefills reports whether an instance of this role may take leg 1.
func (r Role) Prefills() bool { return r == RolePrefill || r == RoleBoth }

// Decodes reports whether an instance of this role may take leg 2 or a local request.
func (r Role) Decodes() bool { return r == RoleDecode || r == RoleBoth }

// RoleFromTags finds the role among an instance's Consul tags. Tags that are
// not ours are ignored. Two different role tags are an error, because either
// reading would send some leg to the wrong server; none is ErrNoRole.
func RoleFromTags(tags []string) (Role, error) {
	var found Role
	for _, t := range tags {
		v, ok := strings.CutPrefix(t, TagPrefix)
		if !ok {
			continue
		}
		r, err := ParseRole(v)
		if err != nil {
			return "", fmt.Errorf("tag %q: %w", t, err)
		}
		if found != "" && found != r {
			return "", fmt.Errorf("tags %q and %q contradict each other; keep one", found.Tag(), r.Tag())
		}
		found = r
	}
	if found == "" {
		return "", ErrNoRole
	}
	return found, nil
}
