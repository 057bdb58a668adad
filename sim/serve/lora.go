package serve

import (
	"encoding/json"
	"fmt"
	"strings"
)

// LoRA is one adapter of --lora-modules.
type LoRA struct {
	Name string `json:"name"`
	Path string `json:"path"`
	Base string `json:"base_model_name"` // "": the first served name
}

// addLoRA reads an item of --lora-modules: name=path, or an object.
func addLoRA(c *Config, item string) error {
	if item == "" {
		return nil
	}
	if name, path, ok := strings.Cut(item, "="); ok && !strings.Contains(item, ",") {
		c.LoRAs = append(c.LoRAs, LoRA{Name: name, Path: path})
		return nil
	}
	var l LoRA
	if err := json.Unmarshal([]byte(item), &l); err != nil {
		return usage("Invalid JSON format for --lora-modules: %s", item)
	}
	if l.Name == "" || l.Path == "" {
		return usage("Invalid fields for --lora-modules: %s", item)
	}
	c.LoRAs = append(c.LoRAs, l)
	return nil
}

// checkLoRAs finds what keeps vLLM from starting with the adapters.
func (c *Config) checkLoRAs() error {
	seen := map[string]bool{}
	for _, l := range c.LoRAs {
		switch {
		case !c.EnableLoRA:
			return fmt.Errorf("--lora-modules %s: LoRA is not enabled. Use --enable-lora to enable LoRA.", l.Name)
		case l.Name == "" || l.Path == "":
			return fmt.Errorf("--lora-modules: Both 'lora_name' and 'lora_path' must be provided.")
		case seen[l.Name]:
			return fmt.Errorf("--lora-modules: The lora adapter '%s' has already been loaded.", l.Name)
		}
		seen[l.Name] = true
	}
	return nil
}
