package fakegpu

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/hashicorp/nomad/plugins/device"
	"github.com/hashicorp/nomad/plugins/shared/structs"
)

// gpu is one device. The same index is always the same device.
type gpu struct {
	uuid string
	bus  string // PCI address
}

func uuid(i int) string { return fmt.Sprintf("GPU-fa4e0000-0000-4000-8000-%012x", i) }

func fakes(count int) []gpu {
	out := make([]gpu, count)
	for i := range out {
		out[i] = gpu{uuid: uuid(i), bus: fmt.Sprintf("0000:%02x:00.0", i+1)}
	}
	return out
}

// group describes the devices with the attributes of HashiCorp's nvidia plugin.
func group(cfg settings, sick map[string]string) *device.DeviceGroup {
	g := &device.DeviceGroup{
		Vendor: vendor, Type: device.DeviceTypeGPU, Name: cfg.Model,
		Attributes: map[string]*structs.Attribute{
			"memory":           cfg.memory,
			"power":            structs.NewIntAttribute(700, structs.UnitW),
			"bar1":             structs.NewIntAttribute(262144, structs.UnitMiB),
			"driver_version":   structs.NewStringAttribute("570.86.15"),
			"cores_clock":      structs.NewIntAttribute(1980, structs.UnitMHz),
			"memory_clock":     structs.NewIntAttribute(3201, structs.UnitMHz),
			"pci_bandwidth":    structs.NewIntAttribute(63015, structs.UnitMBPerS),
			"display_state":    structs.NewStringAttribute("Disabled"),
			"persistence_mode": structs.NewStringAttribute("Enabled"),
		},
	}
	for _, f := range fakes(cfg.Count) {
		why, ill := sick[f.uuid]
		g.Devices = append(g.Devices, &device.Device{
			ID: f.uuid, Healthy: !ill, HealthDesc: why,
			HwLocality: &device.DeviceLocality{PciBusID: f.bus},
		})
	}
	return g
}

// readHealth reads which devices are unhealthy, and why.
func readHealth(path string) (map[string]string, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := map[string]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		id, why, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		if id == "" || strings.HasPrefix(id, "#") {
			continue
		}
		if why = strings.TrimSpace(why); why == "" {
			why = "listed in " + path
		}
		out[id] = why
	}
	return out, lines.Err()
}

// writeProc describes the devices as the NVIDIA kernel driver does. Files of
// an earlier, larger count go.
func writeProc(cfg settings) error {
	want := map[string]bool{}
	for i, g := range fakes(cfg.Count) {
		want[g.bus] = true
		dir := filepath.Join(cfg.ProcDir, g.bus)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("describe device: %w", err)
		}
		text := fmt.Sprintf("Model: \t\t %s\nIRQ:   \t\t %d\nGPU UUID: \t %s\nVideo BIOS: \t 96.00.a5.00.01\nBus Type: \t PCIe\n"+
			"DMA Size: \t 52 bits\nDMA Mask: \t 0xfffffffffffff\nBus Location: \t %s\nDevice Minor: \t %d\nGPU Firmware: \t 570.86.15\nGPU Excluded:\t No\n",
			cfg.Model, 256+i, g.uuid, g.bus, i)
		// By rename: a task may be starting while an agent restarts.
		tmp := filepath.Join(dir, fmt.Sprintf(".information.%d", os.Getpid()))
		if err := os.WriteFile(tmp, []byte(text), 0o444); err != nil {
			return fmt.Errorf("describe device: %w", err)
		}
		if err := os.Rename(tmp, filepath.Join(dir, "information")); err != nil {
			return fmt.Errorf("describe device: %w", err)
		}
	}
	return removeOthers(cfg.ProcDir, want)
}

// removeOthers removes devices of ours that are no longer offered.
func removeOthers(dir string, want map[string]bool) error {
	all := map[string]bool{}
	for _, g := range fakes(maxCount) {
		all[g.bus] = true
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list devices: %w", err)
	}
	for _, e := range entries {
		if all[e.Name()] && !want[e.Name()] {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("remove device: %w", err)
			}
		}
	}
	return nil
}
