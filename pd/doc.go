// Package pd is the contract between the rooms: what an instance publishes
// about itself in Consul, what a router and an instance say to one another in
// headers, and the closed lists of paths and reasons that every room counts by.
//
// It imports nothing but the standard library, starts no goroutine and keeps
// no state, so that any room (the simulator included) can share it.
package pd
