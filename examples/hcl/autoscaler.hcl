# Configuration of the Nomad Autoscaler agent (0.5.0 or newer) that scales the
# job in pd.nomad.hcl. Start it with
#
#     nomad-autoscaler agent -config autoscaler.hcl
#
# and copy nomad-autoscaler-vllm into its plugin_dir. The policies are not here:
# they are the scaling blocks of the job, and the agent reads them from Nomad.

# Where the plugin's binary is. Relative paths start where the agent does.
plugin_dir = "./plugins"

nomad {
  # The agent reads the policies and sets the counts here. With ACLs it needs a
  # token (NOMAD_TOKEN) whose policy has: namespace "default" { policy = "scale" }
  address = "http://127.0.0.1:4646"
}

# The agent's own health and metrics (/v1/health, /v1/metrics).
http {
  bind_address = "127.0.0.1"
  bind_port    = 8081
}

# Without this block the agent also looks for policy files.
policy {
  source "file" {
    enabled = false
  }
}

# source = "vllm" of a check. It finds a group's instances in Consul by the
# service meta that the job sets, and reads /metrics of each: the agent must be
# able to reach the instances' addresses.
apm "vllm" {
  driver = "nomad-autoscaler-vllm"
  args   = ["apm"]

  config = {
    # The agent's own Nomad settings, its token included, are handed to every
    # plugin unless this says false. This one has no use for them.
    nomad_config_inherit = "false"

    # consul_addr    = "127.0.0.1:8500" # default: CONSUL_HTTP_ADDR, else this
    # consul_token   = ""               # default: CONSUL_HTTP_TOKEN; service and node read
    # consul_service = "vllm"           # the name of the service in the job
    # scrape_timeout = "2s"             # for each instance
  }
}

# strategy "vllm-pd" of a check.
strategy "vllm-pd" {
  driver = "nomad-autoscaler-vllm"
  args   = ["strategy"]

  config = {
    nomad_config_inherit = "false"
  }
}
