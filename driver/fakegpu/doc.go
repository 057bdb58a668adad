// Package fakegpu is a Nomad device plugin that offers GPUs where there are
// none, so that a job with `device "nvidia/gpu"` is scheduled, constrained and
// started on a laptop or in CI as it is on a GPU node: same vendor and type,
// same attributes and units, same NVIDIA_VISIBLE_DEVICES as HashiCorp's nvidia
// plugin gives. Nothing can compute on these devices.
//
// With proc_dir set it also describes each device in a file of the form that
// the NVIDIA kernel driver uses, so that the task driver finds the index of a
// UUID in the same way as on a real node.
//
// Goroutines: one per stream that Nomad opens (Fingerprint, Stats), which ends
// with that stream's context.
package fakegpu
