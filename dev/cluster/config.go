package cluster

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
)

// The node pretends to be a large GPU host, so that a job written for one is
// scheduled here unchanged; the simulator uses next to nothing of it.
const (
	nodeMemoryMB = 1 << 20
	nodeCPUMHz   = 256_000
)

var consulConfig = template.Must(template.New("consul.hcl").Parse(`
bind_addr            = "127.0.0.1"
client_addr          = "127.0.0.1"
disable_update_check = true
log_level            = "INFO"
ports {
  http     = {{.Ports.ConsulHTTP}}
  https    = -1
  grpc     = {{.Ports.ConsulGRPC}}
  grpc_tls = -1
  dns      = -1
  server   = {{.Ports.ConsulRPC}}
  serf_lan = {{.Ports.ConsulSerfLAN}}
  serf_wan = {{.Ports.ConsulSerfWAN}}
}
`))

var nomadConfig = template.Must(template.New("nomad.hcl").Funcs(template.FuncMap{"q": quoteHCL}).Parse(`
bind_addr            = "127.0.0.1"
disable_update_check = true
{{- if .Trace}}
log_level            = "TRACE"
log_json             = true
{{- else}}
log_level            = "INFO"
{{- end}}
plugin_dir           = {{q .PluginDir}}
leave_on_terminate   = false
ports {
  http = {{.Ports.NomadHTTP}}
  rpc  = {{.Ports.NomadRPC}}
  serf = {{.Ports.NomadSerf}}
}
consul {
  address = "127.0.0.1:{{.Ports.ConsulHTTP}}"
}
{{- if .Durable}}
data_dir = {{q .DataDir}}
# Without these a server on loopback advertises an address that it does not have.
advertise {
  http = "127.0.0.1"
  rpc  = "127.0.0.1"
  serf = "127.0.0.1"
}
server {
  enabled          = true
  bootstrap_expect = 1
}
{{- end}}
client {
  enabled           = true
  network_interface = "lo"
{{- if not .Durable}}
  # An agent in development mode would put these under the system's temporary directory.
  alloc_dir         = {{q (print .DataDir "/alloc")}}
  state_dir         = {{q (print .DataDir "/client")}}
{{- end}}
  cpu_total_compute = {{.CPU}}
  memory_total_mb   = {{.MemoryMB}}
  min_dynamic_port  = {{.Ports.DynamicMin}}
  max_dynamic_port  = {{.Ports.DynamicMax}}
  options = {
    # These ask the network which cloud the node is in; a laptop is in none.
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean"
  }
}
plugin "raw_exec" {
  config { enabled = true }
}
plugin "nomad-driver-vllm" {
  config {
    command      = {{q .EngineCommand}}
    gpu_proc_dir = {{q .GPUProcDir}}
    {{- range $name, $command := .Runtimes}}
    runtime {{q $name}} {
      command = {{q $command}}
    }
    {{- end}}
  }
}
plugin "nomad-device-fakegpu" {
  config {
    count    = {{.GPUs}}
    proc_dir = {{q .GPUProcDir}}
  }
}
`))

var autoscalerConfig = template.Must(template.New("autoscaler.hcl").Funcs(template.FuncMap{"q": quoteHCL}).Parse(`
plugin_dir = {{q .PluginDir}}
log_level  = "DEBUG"
http {
  bind_address = "127.0.0.1"
  bind_port    = {{.Ports.AutoscalerHTTP}}
}
nomad {
  address = "http://127.0.0.1:{{.Ports.NomadHTTP}}"
}
policy {
  default_cooldown            = "10s"
  default_evaluation_interval = "5s"
}
apm "vllm" {
  driver = "nomad-autoscaler-vllm"
  args   = ["apm"]
  config = {
    consul_addr = "127.0.0.1:{{.Ports.ConsulHTTP}}"
  }
}
strategy "vllm-pd" {
  driver = "nomad-autoscaler-vllm"
  args   = ["strategy"]
}
`))

// quoteHCL makes an HCL string literal of a path or command.
func quoteHCL(s string) string {
	var b bytes.Buffer
	b.WriteByte('"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case (c == '$' || c == '%') && i+1 < len(s) && s[i+1] == '{':
			b.WriteByte(c)
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// configValues are what the templates above read.
type configValues struct {
	Ports               Ports
	PluginDir, DataDir  string
	Durable, Trace      bool
	CPU, MemoryMB, GPUs int
	EngineCommand       string
	Runtimes            map[string]string
	GPUProcDir          string
}

func writeConfig(t *template.Template, dir string, v configValues) (string, error) {
	var b bytes.Buffer
	if err := t.Execute(&b, v); err != nil {
		return "", fmt.Errorf("write %s: %w", t.Name(), err)
	}
	path := filepath.Join(dir, t.Name())
	return path, os.WriteFile(path, b.Bytes(), 0o644)
}
