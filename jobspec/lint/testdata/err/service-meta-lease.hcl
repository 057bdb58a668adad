job "pd" {
  group "prefill" {
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
        kill_timeout = "30s"
        args  = ["--max-model-len=8192"]

        kv_transfer {
          connector         = "NixlConnector"
          side_channel_port = "nixl"
          lease             = "2m"
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
        pd_kv_lease          = "30"
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
        kill_timeout = "30s"
        args  = ["--max-model-len=8192"]

        kv_transfer {
          connector         = "NixlConnector"
          side_channel_port = "nixl"
          lease             = "2m"
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
