// Package sidechannel carries KV blocks from a prefill to a decode over TCP,
// in a framing of its own: the simulator's stand-in for NIXL's ZMQ handshake
// and RDMA reads in one.
//
// Every message is a four-byte length and a JSON object; the answer to a read
// is followed by the blocks' bytes. A decode keeps one connection to each
// prefill engine that it has met. Nothing in a read is checked against leases:
// it returns what the blocks hold at that moment, as an RDMA read does.
//
// Server owns one goroutine that accepts and one for each connection; Close
// ends them all. A Peer has no goroutine of its own, its methods run in the
// caller's and take turns.
package sidechannel
