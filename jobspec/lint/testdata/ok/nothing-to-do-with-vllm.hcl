job "web" {
  group "web" {
    network {
      port "http" {}
    }

    service {
      name     = "web"
      provider = "nomad"
      port     = "http"
    }

    task "web" {
      driver = "docker"

      config {
        image = "nginx:1"
        port  = "whatever"
      }
    }
  }
}
