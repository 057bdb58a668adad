package fakegpu

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/hashicorp/nomad/plugins/shared/hclspec"
	"github.com/hashicorp/nomad/plugins/shared/structs"
)

// Config is the plugin's config block.
type Config struct {
	// Count of devices. Default 16.
	Count int `codec:"count"`
	// Model is the name of the devices, "nvidia/gpu/<model>" in a job.
	// Default "FAKE-H200".
	Model string `codec:"model"`
	// Memory of each, with its unit. Default "143771 MiB", an H200's.
	Memory string `codec:"memory"`
	// ProcDir gets a directory for each device, as /proc/driver/nvidia/gpus
	// has. Empty (the default): none.
	ProcDir string `codec:"proc_dir"`
	// HealthFile lists devices that are unhealthy, one a line: the UUID, and
	// behind it the reason. Empty (the default) or no such file: all are well.
	HealthFile string `codec:"health_file"`
	// Period between looks at HealthFile. Default "5s", at least "100ms".
	Period string `codec:"period"`
}

const (
	maxCount  = 255 // one PCI bus each
	minPeriod = 100 * time.Millisecond
)

func defaultConfig() Config {
	return Config{Count: 16, Model: "FAKE-H200", Memory: "143771 MiB", Period: "5s"}
}

func configSpec() *hclspec.Spec {
	def := defaultConfig()
	text := func(name, value string) *hclspec.Spec {
		return hclspec.NewDefault(hclspec.NewAttr(name, "string", false), hclspec.NewLiteral(strconv.Quote(value)))
	}
	return hclspec.NewObject(map[string]*hclspec.Spec{
		"count": hclspec.NewDefault(hclspec.NewAttr("count", "number", false),
			hclspec.NewLiteral(strconv.Itoa(def.Count))),
		"model":       text("model", def.Model),
		"memory":      text("memory", def.Memory),
		"proc_dir":    hclspec.NewAttr("proc_dir", "string", false),
		"health_file": hclspec.NewAttr("health_file", "string", false),
		"period":      text("period", def.Period),
	})
}

// settings are a Config that has been checked.
type settings struct {
	Config
	memory *structs.Attribute
	period time.Duration
}

func (c Config) check() (settings, error) {
	s := settings{Config: c}
	var errs []error
	if c.Count < 0 || c.Count > maxCount {
		errs = append(errs, fmt.Errorf("count = %d: want 0 to %d", c.Count, maxCount))
	}
	if c.Model == "" {
		errs = append(errs, errors.New(`model = "": name the devices; leave it out for "FAKE-H200"`))
	}
	s.memory = structs.ParseAttribute(c.Memory)
	if n, ok := s.memory.GetInt(); !ok || n <= 0 || !s.memory.Comparable(structs.NewIntAttribute(1, structs.UnitMiB)) {
		errs = append(errs, fmt.Errorf("memory = %q: want a whole number with a unit, \"143771 MiB\" for example", c.Memory))
	}
	var err error
	if s.period, err = time.ParseDuration(c.Period); err != nil || s.period < minPeriod {
		errs = append(errs, fmt.Errorf("period = %q: want a duration of at least %s", c.Period, minPeriod))
	}
	for name, path := range map[string]string{"proc_dir": c.ProcDir, "health_file": c.HealthFile} {
		if path != "" && !filepath.IsAbs(path) {
			errs = append(errs, fmt.Errorf("%s = %q: want an absolute path", name, path))
		}
	}
	return s, errors.Join(errs...)
}
