// Package fleet answers "who is there": it turns Consul's health of a service,
// or a fixed list of addresses, into immutable snapshots of instances. It
// decides nothing about requests.
//
// A Consul owns one goroutine per watched service name, all started by Run
// and all finished when Run returns. Each of them owns its own query index and
// backoff; what they learn meets under one lock in publish, which alone writes
// the snapshot pointer. Readers take a Snapshot from that one atomic pointer
// and may keep it as long as they like.
package fleet
