# One model behind one OpenAI-compatible address, prefill and decode on
# separate vLLM servers.
#
#   nomad job run FILE
#   nomad job run -var decode_count=10 FILE
#
# What to look at before it runs on your cluster:
#   - the variables below: model, engine_args and compat belong together;
#   - datacenters (and add node_pool, namespace or constraints as you use them);
#   - the device block of both groups: how many GPUs of which memory;
#   - cpu and memory of both groups: memory is host memory, not the GPU's;
#   - the router's task: how its binary reaches the node.
#
# The nodes need: the task driver plugin nomad-driver-vllm, vLLM itself (the
# driver's `command`), the device plugin nomad-device-nvidia, and a Consul agent.
# Prefill and decode must reach each other on any TCP port: besides the ports
# below, the KV cache travels on ports that the transfer library picks itself.
# The scaling blocks take effect once a Nomad autoscaler with the plugins of
# nomad-autoscaler-vllm runs; without it the counts stay as they are.

variable "model" {
  description = "Model name or path, letter for letter the same for all servers; clients send it as \"model\"."
  type        = string
  default     = "meta-llama/Llama-3.1-8B-Instruct"
}

variable "engine_args" {
  description = "vLLM arguments of every server; what differs between the roles stands in the groups."
  type        = list(string)
  default     = ["--max-model-len=8192", "--gpu-memory-utilization=0.90"]
}

# vLLM refuses a handoff between servers that differ in version, dtype,
# attention backend or KV layout. The router pairs only equal compat values, so
# change it together with any of these: during the rolling update old servers
# then keep working with old ones, and new ones with new ones.
variable "compat" {
  description = "Servers exchange KV cache only if this is equal."
  type        = string
  default     = "v1"
}

variable "prefill_count" {
  description = "Prefill servers to start with; the autoscaler does not go below it."
  type        = number
  default     = 2
}

variable "decode_count" {
  description = "Decode servers to start with; the autoscaler does not go below it."
  type        = number
  default     = 6
}

variable "router_port" {
  description = "Port of the OpenAI-compatible API on the router's node."
  type        = number
  default     = 8000
}

variable "local_below" {
  description = "Prompts of which less than this must be computed are served by a decode alone. \"0\" hands every prompt over, so that a first try shows a handoff; \"1KiB\" or \"learn\" is better in production."
  type        = string
  default     = "0"
}

job "pd" {
  type        = "service"
  datacenters = ["*"]

  # A server is healthy only when its model is loaded, minutes after its start.
  # healthy_deadline must cover the load of the largest model (download
  # included), progress_deadline must be longer still. The Nomad autoscaler
  # cannot change a count while a deployment is going on.
  update {
    max_parallel      = 1
    health_check      = "checks"
    min_healthy_time  = "5s"
    healthy_deadline  = "10m"
    progress_deadline = "15m"
  }

  # The same when a node is drained: the next server is not moved before the
  # one that replaces the last has loaded.
  migrate {
    max_parallel     = 1
    health_check     = "checks"
    min_healthy_time = "5s"
    healthy_deadline = "10m"
  }

  # A server that keeps dying on one node is tried on another, ever less often.
  reschedule {
    delay          = "30s"
    delay_function = "exponential"
    max_delay      = "10m"
    unlimited      = true
  }

  # Reads prompts and hands the KV cache over. Bound by compute.
  group "prefill" {
    count = var.prefill_count

    # One machine's failure then costs as little as possible. It is a wish, not
    # a rule: on one node all are placed there.
    spread {
      attribute = "${node.unique.id}"
    }

    network {
      port "http" {} # the OpenAI API and /metrics
      port "nixl" {} # the KV handoff's side channel
    }

    # Once Consul has forgotten the server, the router needs a moment to hear
    # of it; only then does the server get SIGTERM and closes its port.
    shutdown_delay = "5s"

    restart {
      attempts = 3
      interval = "10m"
      delay    = "5s"
      mode     = "fail"
    }

    # The router and the autoscaler find the server by this entry. Keep the tag
    # and the pd_* keys; add tags and keys of your own as you like.
    service {
      name     = "vllm"
      provider = "consul"
      port     = "http"
      tags     = ["pd.role=prefill"]

      meta {
        pd_model             = var.model
        pd_connector         = "NixlConnector"
        pd_compat            = var.compat
        pd_job               = "${NOMAD_JOB_ID}"
        pd_group             = "${NOMAD_GROUP_NAME}"
        pd_namespace         = "${NOMAD_NAMESPACE}"
        pd_alloc             = "${NOMAD_ALLOC_ID}"
        pd_side_channel_port = "${NOMAD_PORT_nixl}"
      }

      check {
        name     = "health"
        type     = "http"
        path     = "/health"
        interval = "3s"
        timeout  = "2s"

        # Restarts a server that hangs. grace must be longer than the model
        # load, or no server ever finishes loading.
        check_restart {
          limit = 10
          grace = "10m"
        }
      }
    }

    scaling {
      enabled = true
      min     = var.prefill_count
      max     = 4

      policy {
        evaluation_interval  = "10s"
        cooldown_on_scale_up = "3m" # longer than a load takes, or the same server is asked for twice
        cooldown             = "5m"

        # Prompts that wait, in the whole group. More than target for each server:
        # grow. Shrink only if the highest point of query_window allows it.
        check "queue" {
          source       = "vllm"
          query        = "queue_depth/prefill/pd"
          query_window = "1m"

          strategy "vllm-pd" {
            target         = 4
            max_scale_up   = 2
            max_scale_down = 1
          }
        }

        # Without a queue the servers may still be busy: do not shrink so far that
        # the rest would run too much each. max_scale_up = 0: never a reason to grow.
        check "running" {
          source       = "vllm"
          query        = "requests_running/prefill/pd"
          query_window = "1m"

          strategy "vllm-pd" {
            target         = 8
            max_scale_up   = 0
            max_scale_down = 1
          }
        }
      }
    }

    task "vllm" {
      driver = "vllm"

      # What is still running then is killed. The client's max_kill_timeout
      # (default 30s) caps it.
      kill_timeout = "30s"

      config {
        model        = var.model
        role         = "prefill"
        port         = "http"
        kill_timeout = "30s" # the task's again: vLLM may finish answers for two thirds of it
        args         = concat(var.engine_args, ["--max-num-batched-tokens=8192"])

        kv_transfer {
          connector         = "NixlConnector"
          side_channel_port = "nixl"
        }
      }

      env {
        # Without it a decode on the same machine keeps the GPU memory of a
        # prefill that died, and the prefill's next start finds none. It costs
        # a few milliseconds a handoff.
        UCX_CUDA_IPC_CACHE = "n"

        # HF_HOME  = "/srv/models" # where the node keeps downloaded models
        # HF_TOKEN = ...           # better from a template block with nomadVar or Vault
      }

      resources {
        cpu    = 6000  # MHz
        memory = 49152 # MiB

        # As many GPUs as config's tensor_parallel_size times
        # pipeline_parallel_size, each 1 unless it is set.
        device "nvidia/gpu" {
          count = 1

          constraint {
            attribute = "${device.attr.memory}"
            operator  = ">="
            value     = "140 GiB"
          }
        }
      }
    }
  }

  # Writes the answers. Bound by memory: what fits into its KV cache decides how
  # many requests run at once.
  group "decode" {
    count = var.decode_count

    spread {
      attribute = "${node.unique.id}"
    }

    network {
      port "http" {}
      port "nixl" {}
    }

    shutdown_delay = "5s"

    restart {
      attempts = 3
      interval = "10m"
      delay    = "5s"
      mode     = "fail"
    }

    service {
      name     = "vllm"
      provider = "consul"
      port     = "http"
      tags     = ["pd.role=decode"]

      meta {
        pd_model             = var.model
        pd_connector         = "NixlConnector"
        pd_compat            = var.compat
        pd_job               = "${NOMAD_JOB_ID}"
        pd_group             = "${NOMAD_GROUP_NAME}"
        pd_namespace         = "${NOMAD_NAMESPACE}"
        pd_alloc             = "${NOMAD_ALLOC_ID}"
        pd_side_channel_port = "${NOMAD_PORT_nixl}"
      }

      check {
        name     = "health"
        type     = "http"
        path     = "/health"
        interval = "3s"
        timeout  = "2s"

        check_restart {
          limit = 10
          grace = "10m"
        }
      }
    }

    scaling {
      enabled = true
      min     = var.decode_count
      max     = 10

      policy {
        evaluation_interval  = "10s"
        cooldown_on_scale_up = "3m"
        cooldown             = "5m"

        check "queue" {
          source       = "vllm"
          query        = "queue_depth/decode/pd"
          query_window = "1m"

          strategy "vllm-pd" {
            target         = 4
            max_scale_up   = 2
            max_scale_down = 1
          }
        }

        # target: the answers that one decode writes at once at a token rate that
        # your users accept.
        check "running" {
          source       = "vllm"
          query        = "requests_running/decode/pd"
          query_window = "1m"

          strategy "vllm-pd" {
            target         = 64
            max_scale_up   = 2
            max_scale_down = 1
          }
        }

        # Mean time of a KV transfer. The decodes fetch, so it is measured here, and
        # more of them have more links to fetch over. If it stays high, look first
        # whether the transfers go over TCP instead of RDMA.
        check "kv_transfer" {
          source       = "vllm"
          query        = "kv_transfer_latency/decode/pd"
          query_window = "1m"

          strategy "vllm-pd" {
            target         = "250ms"
            max_scale_up   = 1
            max_scale_down = 1
          }
        }
      }
    }

    task "vllm" {
      driver       = "vllm"
      kill_timeout = "30s"

      config {
        model        = var.model
        role         = "decode"
        port         = "http"
        kill_timeout = "30s"
        args         = concat(var.engine_args, ["--max-num-seqs=256"])

        kv_transfer {
          connector         = "NixlConnector"
          side_channel_port = "nixl"
        }
      }

      env {
        UCX_CUDA_IPC_CACHE = "n"
      }

      resources {
        cpu    = 4000  # MHz
        memory = 32768 # MiB

        device "nvidia/gpu" {
          count = 1

          constraint {
            attribute = "${device.attr.memory}"
            operator  = ">="
            value     = "140 GiB"
          }
        }
      }
    }
  }

  # Takes the clients' requests: prompt to a prefill, answer from a decode.
  group "router" {
    count = 1

    network {
      port "http" {
        static = var.router_port
      }
      # For operators, on the node itself only: status page, drain, profiles.
      port "admin" {}
    }

    shutdown_delay = "5s"

    restart {
      attempts = 10
      interval = "10m"
      delay    = "2s"
      mode     = "delay"
    }

    service {
      name     = "pd-router"
      provider = "consul"
      port     = "http"

      # /health says that the router runs. /ready says that it could serve a
      # request now; it is no check here, because a router without servers still
      # gives clients a proper 503 with Retry-After, and they would get a
      # refused connection if Consul took it out. A load balancer that has
      # another cluster to fall back on should ask /ready.
      check {
        name     = "health"
        type     = "http"
        path     = "/health"
        interval = "3s"
        timeout  = "2s"
      }
    }

    task "router" {
      # Development: pd-router from the PATH of the Nomad client, which must have
      # raw_exec enabled. On a real cluster use exec (or docker) and let Nomad
      # bring the binary, for example
      #   driver = "exec"
      #   artifact {
      #     source = "https://example.com/pd-router_linux_amd64.tar.gz"
      #   }
      #   config {
      #     command = "local/pd-router"
      driver       = "raw_exec"
      kill_timeout = "30s"

      config {
        command = "pd-router"
        args = [
          "-listen", "${NOMAD_ADDR_http}",
          "-consul-service", "vllm",
          "-admin", "127.0.0.1:${NOMAD_PORT_admin}",
          "-local-below", var.local_below,
          "-drain-timeout", "25s", # shorter than kill_timeout
        ]
      }

      env {
        # The Consul agent of the node, unless CONSUL_HTTP_ADDR of the Nomad
        # client says otherwise. In a container 127.0.0.1 is the container:
        # CONSUL_HTTP_ADDR = "http://${attr.unique.network.ip-address}:8500"
        # With Consul ACLs the router needs a token that may read the service and
        # the nodes: give the task a consul {} block and Nomad sets
        # CONSUL_HTTP_TOKEN from the workload identity.
      }

      resources {
        cpu    = 1000
        memory = 512
      }
    }
  }
}
