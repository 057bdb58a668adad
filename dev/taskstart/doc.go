// Package taskstart measures how long the driver takes to start a task, beside
// Nomad's own raw_exec on the same agent.
//
// Two allocations of one job, one for each driver, run the same probe (package
// main in probe/): it writes down the time at which it begins to run and waits
// to be stopped. They are restarted in turns, so that whatever else the machine
// does meets both alike. A start is measured
//
//   - from the agent's trace line "finished prestart hooks", the last thing that
//     Nomad does in the same way for every driver before it asks for the task;
//     raw_exec lives inside the agent and the driver in a process of its own, so
//     any later mark would hide what the call between the two processes costs;
//   - to the probe's first statement, and, beside it, to Nomad's own "Started"
//     event, at which Nomad knows that the task runs.
//
// Everything happens on the caller's goroutine.
package taskstart
