package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Root is where a Linux system has its cgroups.
const Root = "/sys/fs/cgroup"

// Version tells which version Nomad's client uses under a root, as it decides
// itself: what is mounted there. With an error, the reason why tasks cannot be
// limited; the version is 0 then.
func Version(root string) (int, error) {
	if exists(filepath.Join(root, "cgroup.controllers")) {
		if err := usableV2(root); err != nil {
			return 0, err
		}
		return 2, nil
	}
	if !exists(filepath.Join(root, "memory", "cgroup.procs")) {
		return 0, fmt.Errorf("no memory cgroup is mounted under %s", root)
	}
	if err := writable(filepath.Join(root, "memory")); err != nil {
		return 0, err
	}
	return 1, nil
}

func usableV2(root string) error {
	b, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if err != nil {
		return err
	}
	have := strings.Fields(string(b))
	for _, c := range []string{"cpu", "memory"} {
		if !slices.Contains(have, c) {
			return fmt.Errorf("the controller %q is not delegated to %s", c, root)
		}
	}
	// A client without root works where its slice was given to it.
	if slice := filepath.Join(root, "nomad.slice"); exists(slice) {
		return writable(slice)
	}
	return writable(root)
}

// writable asks the kernel: root without a writable mount, as in many
// containers, may not either.
func writable(dir string) error {
	err := unix.Access(dir, unix.W_OK)
	if errors.Is(err, unix.EACCES) || errors.Is(err, unix.EROFS) {
		return fmt.Errorf("%s is not writable (%w)", dir, err)
	}
	return err
}
