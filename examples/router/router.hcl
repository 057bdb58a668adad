# Everything that pd-router's file may set, each with its default; what is
# commented out has none. Delete what you do not change.
#   pd-router -config router.hcl
# What each means: docs/router.md. A flag of the command line wins over the file.

listen        = ":8000"          # for clients
admin         = "127.0.0.1:8001" # for operators, without keys: leave it on loopback
drain_timeout = "30s"            # to finish what runs at a stop; Nomad's kill_timeout must be longer
no_fallback   = false            # true: fail what cannot be handed over
# takeover    = "/run/pd-router/takeover.sock" # the next router gets the address by it
slow_start    = "30s"            # in which a new instance comes to its full share

log {
  level = "info"
  json  = false
}

# Where instances are registered. The token comes from CONSUL_HTTP_TOKEN.
consul {
  # address = "127.0.0.1:8500"
  services = ["vllm"]
}

# Or fixed addresses, instead of Consul.
instances {
  # prefill = ["http://10.0.0.1:8100", "http://10.0.0.2:8100"]
  # decode  = ["http://10.0.0.3:8200"]
}

upstream {
  dial_timeout = "2s"
  # ca = "/etc/ssl/vllm-ca.pem" # who may have signed https instances' certificates
}

prefill {
  policy  = "auto"
  tries   = 3
  timeout = "2m"
}

decode {
  policy              = "auto"
  first_token_timeout = "5m"
  answer_timeout      = "30m"
  stall_timeout       = "1m"
}

# Prompts of which less than this has to be computed are not worth a handoff.
local {
  below = "1KiB" # "0": all are; "learn": from measured times
}

breaker {
  failures    = 5 # in a row
  open        = "5s"
  max_open    = "1m"
  max_ejected = 0.5 # of a pool
}

limits {
  max_body      = "32MiB"
  body_timeout  = "1m"
  write_timeout = "1m"
  max_running   = 0 # no limit: vLLM queues
  max_waiting   = 1024
  max_wait      = "30s"
  instance_wait = "1m"
}

# TLS for clients, HTTP/2 too; read again when the files change.
tls {
  # cert_file = "/etc/pd-router/cert.pem"
  # key_file  = "/etc/pd-router/key.pem"
}

# Traces, to an OpenTelemetry collector.
trace {
  # endpoint = "http://10.0.0.9:4318"
  sample = 0.01
}

# The metrics, every 10 s, to an agent on this node, beside /metrics.
telemetry {
  # statsd_address   = "127.0.0.1:8125" # UDP
  # statsite_address = "127.0.0.1:8125" # TCP
}

# With keys, only who has one is served. sha256: printf %s "$KEY" | sha256sum
# key "team-a" { sha256 = "11616988f0685565221c645d7080279cce688264a13a9f7339c3396f8e6d8f95" }
