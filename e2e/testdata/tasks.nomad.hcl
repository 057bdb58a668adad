# Three servers for what an operator does with single tasks: a script that
# tells its signals, one whose engine dies of its first request, and one that
# answers slower than it may drain.
job "tasks" {
  group "shell" {
    network {
      port "http" {}
    }
    task "vllm" {
      driver = "vllm"
      config {
        command = "THE_SCRIPT"
        model   = "m"
      }
      resources {
        cpu    = 100
        memory = 64
      }
    }
  }
  group "dies" {
    network {
      port "http" {}
    }
    restart {
      attempts = 3
      delay    = "1s"
    }
    task "vllm" {
      driver = "vllm"
      config {
        command = "THE_SIMULATOR"
        model   = "m"
      }
      env {
        VLLM_SIM_FAULTS = "engine@1"
      }
      resources {
        cpu    = 100
        memory = 64
      }
    }
  }
  group "hangs" {
    network {
      port "http" {}
    }
    task "vllm" {
      driver       = "vllm"
      kill_timeout = "3s"
      config {
        command      = "THE_SIMULATOR"
        model        = "m"
        kill_timeout = "3s"
      }
      env {
        VLLM_SIM_SCALE = "50"
      }
      resources {
        cpu    = 100
        memory = 64
      }
    }
  }
}
