// Package fleet answers "who is there": it turns Consul's health of a service,
// or a fixed list of addresses, into immutable snapshots of instances. It
// decides nothing about requests.
//
// A Watcher owns one goroutine per watched Consul service, all started by Run
// and all finished when Run returns. Readers take a Snapshot from one atomic
// pointer and may keep it as long as they like.
package fleet
