package driver

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// gpus are the devices that Nomad reserved for a task.
type gpus struct {
	Count   int
	Visible string // the value of CUDA_VISIBLE_DEVICES; meaningful if Count > 0
}

// Reserved reports whether Nomad reserved any.
func (g gpus) Reserved() bool { return g.Count > 0 }

const envNvidia = "NVIDIA_VISIBLE_DEVICES"

// reservedIDs are the device IDs that a device plugin left in the task's
// environment. Only deviceEnv is certain to come from one; the plain
// environment may carry a value of the agent's own ("all"), so there only
// UUIDs count.
func reservedIDs(deviceEnv, env map[string]string) []string {
	ids := splitIDs(deviceEnv[envNvidia])
	if len(ids) == 0 {
		ids = splitIDs(env[envNvidia])
		if slices.ContainsFunc(ids, func(id string) bool { return !isUUID(id) }) {
			return nil
		}
	}
	return ids
}

func splitIDs(list string) []string {
	var ids []string
	for id := range strings.SplitSeq(list, ",") {
		if id = strings.TrimSpace(id); id != "" && id != "none" && id != "void" && id != "all" {
			ids = append(ids, id)
		}
	}
	return ids
}

func isUUID(id string) bool { return strings.HasPrefix(id, "GPU-") || strings.HasPrefix(id, "MIG-") }

// visibleDevices turns device IDs into what CUDA and vLLM take: indices in
// the order of the PCI bus, because vLLM up to 0.23 dies on GPU UUIDs. MIG
// instances have no index and are passed on as they are.
func visibleDevices(ids []string, index func() (map[string]int, error)) (gpus, error) {
	g := gpus{Count: len(ids)}
	var visible []string
	var errs []error
	var byUUID map[string]int
	for _, id := range ids {
		if !strings.HasPrefix(id, "GPU-") { // MIG, or an index already
			visible = append(visible, id)
			continue
		}
		if byUUID == nil {
			var err error
			if byUUID, err = index(); err != nil {
				return gpus{}, fmt.Errorf("find the index of GPU %s: %w", id, err)
			}
		}
		i, ok := byUUID[id]
		if !ok {
			errs = append(errs, fmt.Errorf("GPU %s: Nomad reserved it, but this node's driver does not list it (it lists %s); see what nvidia-smi and the kernel's log say of it, and drain the node if it is gone", id, listGPUs(byUUID)))
			continue
		}
		visible = append(visible, strconv.Itoa(i))
	}
	g.Visible = strings.Join(visible, ",")
	return g, errors.Join(errs...)
}

func listGPUs(byUUID map[string]int) string {
	if len(byUUID) == 0 {
		return "none"
	}
	var ids []string
	for id := range byUUID {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int { return byUUID[a] - byUUID[b] })
	return strings.Join(ids, ", ")
}

// gpuIndex maps the UUID of every GPU of this node to its index in PCI bus
// order. The kernel driver's own list costs a few file reads; nvidia-smi may
// take seconds, and serves where that list is not there (WSL, containers).
func gpuIndex(procDir string) (map[string]int, error) {
	out, err := procIndex(procDir)
	if err != nil || len(out) > 0 {
		return out, err
	}
	if out, err = smiIndex(); err != nil {
		return nil, fmt.Errorf("no GPU described in gpu_proc_dir %q, and nvidia-smi does not help: %w", procDir, err)
	}
	return out, nil
}

// procIndex reads DIR/<pci address>/information. The kernel names the
// directories domain:bus:device.function in hexadecimal of fixed width, so
// their order is the bus order. No directory: no GPUs.
func procIndex(dir string) (map[string]int, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list GPUs: %w", err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, strings.ToLower(e.Name()))
	}
	slices.Sort(names)
	out := map[string]int{}
	for _, e := range entries {
		uuid, err := uuidFromInformation(filepath.Join(dir, e.Name(), "information"))
		if err != nil {
			return nil, err
		}
		out[uuid] = slices.Index(names, strings.ToLower(e.Name()))
	}
	return out, nil
}

func uuidFromInformation(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("describe GPU: %w", err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		if v, ok := strings.CutPrefix(lines.Text(), "GPU UUID:"); ok {
			return strings.TrimSpace(v), nil
		}
	}
	return "", fmt.Errorf("describe GPU: %s has no line \"GPU UUID:\"", path)
}

const smiTimeout = 20 * time.Second

func smiIndex() (map[string]int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), smiTimeout)
	defer cancel()
	b, err := exec.CommandContext(ctx, "nvidia-smi", "--query-gpu=index,uuid", "--format=csv,noheader").Output()
	if err != nil {
		return nil, fmt.Errorf("run nvidia-smi: %w", err)
	}
	return parseSMI(string(b))
}

func parseSMI(text string) (map[string]int, error) {
	out := map[string]int{}
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) == "" {
			continue
		}
		idx, uuid, ok := strings.Cut(line, ",")
		i, err := strconv.Atoi(strings.TrimSpace(idx))
		if !ok || err != nil {
			return nil, fmt.Errorf("read nvidia-smi's list: line %q: want index, uuid", strings.TrimSpace(line))
		}
		out[strings.TrimSpace(uuid)] = i
	}
	return out, nil
}
