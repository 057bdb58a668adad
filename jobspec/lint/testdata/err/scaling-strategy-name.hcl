job "pd" {
  group "prefill" {
    count          = 2
    shutdown_delay = "5s"

    scaling {
      min = 2
      max = 4

      policy {
        cooldown = "5m"

        check "queue" {
          source = "vllm"
          query  = "queue_depth/prefill/pd"

          strategy "vllm_pd" {
            target = 4
          }
        }
      }
    }

    network {
      port "http" {}
      port "nixl" {}
    }

    service {
      name     = "vllm"
      provider = "consul"
      port     = "http"
      tags     = ["pd.role=prefill"]

      meta {
        pd_model             = "acme/llama"
        pd_connector         = "NixlConnector"
        pd_compat            = "v1"
        pd_job               = "${NOMAD_JOB_ID}"
        pd_group             = "${NOMAD_GROUP_NAME}"
        pd_alloc             = "${NOMAD_ALLOC_ID}"
        pd_side_channel_port = "${NOMAD_PORT_nixl}"
      }

      check {
        type     = "http"
        path     = "/health"
        interval = "3s"
        timeout  = "2s"
      }
    }

    task "vllm" {
      driver       = "vllm"
      kill_timeout = "30s"

      config {
        model = "acme/llama"
        role  = "prefill"
        port  = "http"
        args  = ["--max-model-len=8192", "--shutdown-timeout=20"]

        kv_transfer {
          connector         = "NixlConnector"
          side_channel_port = "nixl"
        }
      }

      resources {
        device "nvidia/gpu" {
          count = 1
        }
      }
    }
  }

  group "decode" {
    count          = 2
    shutdown_delay = "5s"

    network {
      port "http" {}
      port "nixl" {}
    }

    service {
      name     = "vllm"
      provider = "consul"
      port     = "http"
      tags     = ["pd.role=decode"]

      meta {
        pd_model             = "acme/llama"
        pd_connector         = "NixlConnector"
        pd_compat            = "v1"
        pd_job               = "${NOMAD_JOB_ID}"
        pd_group             = "${NOMAD_GROUP_NAME}"
        pd_alloc             = "${NOMAD_ALLOC_ID}"
        pd_side_channel_port = "${NOMAD_PORT_nixl}"
      }

      check {
        type     = "http"
        path     = "/health"
        interval = "3s"
        timeout  = "2s"
      }
    }

    task "vllm" {
      driver       = "vllm"
      kill_timeout = "30s"

      config {
        model = "acme/llama"
        role  = "decode"
        port  = "http"
        args  = ["--max-model-len=8192", "--shutdown-timeout=20"]

        kv_transfer {
          connector         = "NixlConnector"
          side_channel_port = "nixl"
        }
      }

      resources {
        device "nvidia/gpu" {
          count = 1
        }
      }
    }
  }
}
