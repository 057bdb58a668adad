job "pd" {
  group "both" {
    count          = 2
    shutdown_delay = "5s"

    network {
      port "http" {}
    }

    service {
      name     = "vllm"
      provider = "consul"
      port     = "http"
      tags     = ["pd.role=both"]

      meta {
        pd_model     = "acme/llama"
        pd_connector = "NixlConnector"
        pd_compat    = "v1"
        pd_job       = "${NOMAD_JOB_ID}"
        pd_group     = "${NOMAD_GROUP_NAME}"
        pd_alloc     = "${NOMAD_ALLOC_ID}"
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
        role  = "both"
        port  = "http"
        args  = ["--max-model-len=8192", "--shutdown-timeout=20"]
      }

      resources {
        device "nvidia/gpu" {
          count = 1
        }
      }
    }
  }
}
