package driver

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"

	"github.com/nomad-vllm/nomad-vllm/driver/shim"
)

// lookupUser finds who the task runs as, and the environment that goes with
// it: the agent's HOME is not the task's. A nil credential: whoever the agent
// runs as.
func lookupUser(name string) (*shim.Credential, map[string]string, error) {
	if name == "" {
		return nil, nil, nil
	}
	u, err := user.Lookup(name)
	if byID, idErr := user.LookupId(name); err != nil && idErr == nil {
		u, err = byID, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("user %q: %w", name, err)
	}
	uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return nil, nil, fmt.Errorf("user %q: %w", name, err)
	}
	env := map[string]string{"USER": u.Username, "LOGNAME": u.Username, "HOME": u.HomeDir}
	if int(uid) == os.Getuid() {
		return nil, env, nil
	}
	if os.Getuid() != 0 {
		return nil, nil, fmt.Errorf("user %q: only an agent that runs as root can run tasks as another user; remove user or run the agent as root", name)
	}
	c := &shim.Credential{UID: uint32(uid), GID: uint32(gid)}
	groups, err := u.GroupIds()
	if err != nil {
		return nil, nil, fmt.Errorf("groups of user %q: %w", name, err)
	}
	for _, g := range groups {
		if n, err := strconv.ParseUint(g, 10, 32); err == nil {
			c.Groups = append(c.Groups, uint32(n))
		}
	}
	return c, env, nil
}
