variable "tp" {
  type    = number
  default = 2
}

variable "min" {
  type    = number
  default = 2
}

locals {
  args  = concat(local.base, ["--tensor-parallel-size=${var.tp}"])
  base  = ["--shutdown-timeout=20"]
  model = "acme/${local.size}"
  size  = "llama"
}

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
        pd_model             = local.model
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
        model = local.model
        role  = "prefill"
        port  = "http"
        args  = local.args

        kv_transfer {
          connector         = "NixlConnector"
          side_channel_port = "nixl"
        }
      }

      resources {
        device "nvidia/gpu" {
          count = var.tp
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
        pd_model             = local.model
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
        model = local.model
        role  = "decode"
        port  = "http"
        args  = local.args

        kv_transfer {
          connector         = "NixlConnector"
          side_channel_port = "nixl"
        }
      }

      resources {
        device "nvidia/gpu" {
          count = var.tp
        }
      }
    }
  }
}
