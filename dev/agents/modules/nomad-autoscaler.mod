module nomad-vllm.local/agents/nomad-autoscaler
go 1.26
require github.com/hashicorp/nomad-autoscaler v0.5.0
