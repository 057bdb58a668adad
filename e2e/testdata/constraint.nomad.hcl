job "THE_NAME" {
  group "vllm" {
    network {
      port "http" {}
    }
    constraint {
      attribute = "${attr.driver.vllm.runtime.default.vllm}"
      operator  = "version"
      value     = "THE_VERSION"
    }
    task "vllm" {
      driver = "vllm"
      config {
        model = "m"
      }
      resources {
        cpu    = 100
        memory = 64
      }
    }
  }
}
