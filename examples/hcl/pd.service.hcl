# What `nomad-vllm job render pd.service.hcl` makes pd.nomad.hcl from.

service "pd" {
  model = "meta-llama/Llama-3.1-8B-Instruct"

  engine_args = [
    "--max-model-len=8192",
    "--gpu-memory-utilization=0.90",
  ]

  # Reads prompts: bound by compute.
  prefill {
    count      = 2
    max        = 4
    gpus       = 1
    gpu_memory = "140 GiB" # an H200 has 140.4; for an H100 with 80 GB write "79 GiB"
    cpu        = 6000
    memory     = 49152
    args       = ["--max-num-batched-tokens=8192"]
  }

  # Writes answers: bound by memory.
  decode {
    count      = 6
    max        = 10
    gpus       = 1
    gpu_memory = "140 GiB"
    cpu        = 4000
    memory     = 32768
    args       = ["--max-num-seqs=256"]
  }

  router {
    port = 8000
  }

  timeouts {
    load  = "10m"
    drain = "20s"
  }
}
