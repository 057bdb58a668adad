package fakegpu_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/nomad/plugins/base"
	"github.com/hashicorp/nomad/plugins/device"
	"github.com/hashicorp/nomad/plugins/shared/structs"
	"github.com/stretchr/testify/require"

	"github.com/nomad-vllm/nomad-vllm/driver/fakegpu"
)

const soon = 10 * time.Second

func newPlugin(t *testing.T, cfg fakegpu.Config) device.DevicePlugin {
	impl := fakegpu.New(hclog.NewNullLogger())
	client, _ := plugin.TestPluginGRPCConn(t, true, map[string]plugin.Plugin{
		base.PluginTypeDevice: &device.PluginDevice{Impl: impl},
		base.PluginTypeBase:   &base.PluginBase{Impl: impl},
	})
	t.Cleanup(func() { _ = client.Close() }) // it stops the server too
	raw, err := client.Dispense(base.PluginTypeDevice)
	require.NoError(t, err)
	p := raw.(device.DevicePlugin)
	require.NoError(t, setConfig(p, cfg))
	return p
}

func setConfig(p device.DevicePlugin, cfg fakegpu.Config) error {
	var data []byte
	if err := base.MsgPackEncode(&data, &cfg); err != nil {
		return err
	}
	return p.SetConfig(&base.Config{PluginConfig: data})
}

func config() fakegpu.Config {
	return fakegpu.Config{Count: 4, Model: "FAKE-H200", Memory: "80 GiB", Period: "100ms"}
}

func next[T any](t *testing.T, ch <-chan T) T {
	t.Helper()
	select {
	case v, ok := <-ch:
		require.True(t, ok, "stream ended")
		return v
	case <-time.After(soon):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func TestFingerprint_hasTheAttributesOfTheRealPlugin(t *testing.T) {
	ch, err := newPlugin(t, config()).Fingerprint(t.Context())
	require.NoError(t, err)
	fp := next(t, ch)
	require.NoError(t, fp.Error)
	require.Len(t, fp.Devices, 1)
	g := fp.Devices[0]
	require.NoError(t, g.Validate())
	require.Equal(t, "nvidia/gpu/FAKE-H200", g.Vendor+"/"+g.Type+"/"+g.Name)
	require.Len(t, g.Devices, 4)
	units := map[string]string{}
	for k, v := range g.Attributes {
		units[k] = v.Unit
	}
	require.Equal(t, map[string]string{
		"memory": "GiB", "power": "W", "bar1": "MiB", "driver_version": "", "cores_clock": "MHz", "memory_clock": "MHz",
		"pci_bandwidth": "MB/s", "display_state": "", "persistence_mode": "",
	}, units)
	cmp, ok := g.Attributes["memory"].Compare(structs.ParseAttribute("81000 MiB"))
	require.True(t, ok)
	require.Equal(t, 1, cmp, "constraints compare across units")
}

func TestFingerprint_uuidsAreStable(t *testing.T) {
	ids := func() (out []string) {
		ch, err := newPlugin(t, config()).Fingerprint(t.Context())
		require.NoError(t, err)
		for _, d := range next(t, ch).Devices[0].Devices {
			out = append(out, d.ID)
		}
		return out
	}
	first := ids()
	require.Equal(t, first, ids())
	require.Len(t, first, 4)
	require.True(t, strings.HasPrefix(first[0], "GPU-"))
}

func TestFingerprint_followsTheHealthFile(t *testing.T) {
	cfg := config()
	cfg.HealthFile = filepath.Join(t.TempDir(), "health")
	ch, err := newPlugin(t, cfg).Fingerprint(t.Context())
	require.NoError(t, err)
	id := next(t, ch).Devices[0].Devices[2].ID
	require.NoError(t, os.WriteFile(cfg.HealthFile, []byte("# broken\n"+id+" Xid 79: fallen off the bus\n"), 0o600))
	d := next(t, ch).Devices[0].Devices
	require.False(t, d[2].Healthy)
	require.Equal(t, "Xid 79: fallen off the bus", d[2].HealthDesc)
	require.True(t, d[1].Healthy)
	require.NoError(t, os.Remove(cfg.HealthFile))
	require.True(t, next(t, ch).Devices[0].Devices[2].Healthy)
}

func TestFingerprint_describesTheDevicesLikeTheKernel(t *testing.T) {
	cfg := config()
	cfg.ProcDir = filepath.Join(t.TempDir(), "gpus")
	p := newPlugin(t, cfg)
	fingerprint := func() []*device.Device {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ch, err := p.Fingerprint(ctx)
		require.NoError(t, err)
		return next(t, ch).Devices[0].Devices
	}
	devices := fingerprint()
	for _, d := range devices {
		b, err := os.ReadFile(filepath.Join(cfg.ProcDir, d.HwLocality.PciBusID, "information"))
		require.NoError(t, err)
		require.Contains(t, string(b), "GPU UUID: \t "+d.ID+"\n")
	}
	cfg.Count = 2
	require.NoError(t, setConfig(p, cfg))
	require.Len(t, fingerprint(), 2)
	left, err := os.ReadDir(cfg.ProcDir)
	require.NoError(t, err)
	require.Len(t, left, 2, "devices that are no longer offered are no longer described")
}

func TestReserve_namesTheDevicesInTheEnvironment(t *testing.T) {
	p := newPlugin(t, config())
	ch, err := p.Fingerprint(t.Context())
	require.NoError(t, err)
	d := next(t, ch).Devices[0].Devices
	res, err := p.Reserve([]string{d[3].ID, d[1].ID})
	require.NoError(t, err)
	require.Equal(t, map[string]string{"NVIDIA_VISIBLE_DEVICES": d[3].ID + "," + d[1].ID}, res.Envs)
	require.Empty(t, res.Mounts)
	require.Empty(t, res.Devices)
	_, err = p.Reserve([]string{"GPU-nobody"})
	require.ErrorContains(t, err, `reserve "GPU-nobody": no such device`)
}

func TestStats_comeForEveryDeviceUntilTheContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ch, err := newPlugin(t, config()).Stats(ctx, 10*time.Millisecond)
	require.NoError(t, err)
	for range 2 {
		s := next(t, ch)
		require.NoError(t, s.Error)
		require.Len(t, s.Groups[0].InstanceStats, 4)
	}
	cancel()
	require.Eventually(t, func() bool {
		select {
		case _, ok := <-ch:
			return !ok
		default:
			return false
		}
	}, soon, 10*time.Millisecond)
}

func TestSetConfig_saysEverythingThatIsWrong(t *testing.T) {
	p := fakegpu.New(hclog.NewNullLogger())
	err := setConfig(p, fakegpu.Config{Count: 300, Memory: "lots", Period: "1ms", ProcDir: "gpus"})
	for _, want := range []string{
		`count = 300: want 0 to 255`, `model = ""`, `memory = "lots": want a whole number with a unit`,
		`period = "1ms": want a duration of at least 100ms`, `proc_dir = "gpus": want an absolute path`,
	} {
		require.ErrorContains(t, err, want)
	}
	require.NoError(t, p.SetConfig(&base.Config{}), "no config block at all")
}
