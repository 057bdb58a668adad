// Package cgroup reads and writes the control groups of one task, on version 1
// and on version 2. It makes and removes none: Nomad's client makes a task's
// cgroups before it asks a driver to start the task, kills what is left in
// them and removes them when the task is over. A second owner would leave
// directories behind whenever a plugin is killed.
//
// The interface files are the kernel's: Documentation/admin-guide/cgroup-v1
// and cgroup-v2.rst. The package has no goroutines.
package cgroup
