package engine

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// TransferParams is what a prefill answers for its decode, in vLLM's order.
type TransferParams struct {
	DoRemotePrefill bool    `json:"do_remote_prefill"`
	DoRemoteDecode  bool    `json:"do_remote_decode"`
	BlockIDs        [][]int `json:"remote_block_ids"`
	EngineID        string  `json:"remote_engine_id"`
	RequestID       string  `json:"remote_request_id"`
	Host            string  `json:"remote_host"`
	Port            int     `json:"remote_port"`
	TPSize          int     `json:"tp_size"`
	DCPSize         int     `json:"dcp_size"`
	PPSize          int     `json:"pp_size"`
	NumTokens       int     `json:"remote_num_tokens"`
	Expiry          *int    `json:"remote_blocks_expiry_time"`
	TransferMode    string  `json:"transfer_mode"`
	// CachedTokens is left out when the prefill generated more than one token.
	CachedTokens *int `json:"remote_prefill_cached_tokens,omitempty"`
}

// remote is the decode's reading of kv_transfer_params.
type remote struct {
	blocks    []int
	engineID  string
	requestID string
	address   string
}

// verdict is what kv_transfer_params make of a request.
type verdict int

const (
	plain  verdict = iota // nothing to do with a handoff
	keep                  // prefill: keep the blocks for a decode
	fetch                 // decode: fetch the blocks
	hang                  // the real engine waits forever, and dies when the client leaves
	lethal                // the real engine dies of an assertion
)

// judge reads kv_transfer_params as vLLM's NIXL scheduler does, which checks
// next to nothing: truthiness decides what is asked for, a missing key leaves
// the request waiting for blocks that nobody fetches, and a value of the wrong
// shape is met by an assertion in the engine.
func judge(params map[string]any) (verdict, remote) {
	prefill, decode := truthy(params["do_remote_prefill"]), truthy(params["do_remote_decode"])
	switch {
	case prefill && decode:
		return lethal, remote{}
	case decode:
		return keep, remote{}
	case !prefill:
		return plain, remote{}
	}
	if !truthy(params["remote_block_ids"]) {
		return lethal, remote{}
	}
	for _, key := range []string{"remote_engine_id", "remote_request_id", "remote_host", "remote_port"} {
		if _, ok := params[key]; !ok {
			return hang, remote{}
		}
	}
	blocks, ok := nested(params["remote_block_ids"])
	if !ok {
		return lethal, remote{}
	}
	return fetch, remote{
		blocks:    blocks,
		engineID:  str(params["remote_engine_id"]),
		requestID: str(params["remote_request_id"]),
		address:   str(params["remote_host"]) + ":" + str(params["remote_port"]),
	}
}

// nested is the first KV cache group of [[ids]].
func nested(v any) ([]int, bool) {
	groups, ok := v.([]any)
	if !ok || len(groups) == 0 {
		return nil, false
	}
	group, ok := groups[0].([]any)
	if !ok {
		return nil, false
	}
	ids := make([]int, len(group))
	for i, g := range group {
		n, err := strconv.Atoi(str(g))
		if err != nil {
			return nil, false
		}
		ids[i] = n
	}
	return ids, true
}

// truthy is Python's idea of truth for a JSON value.
func truthy(v any) bool {
	switch v := v.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case json.Number:
		f, err := v.Float64()
		return err != nil || f != 0
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	}
	return true
}

func str(v any) string {
	if v == nil {
		return "None"
	}
	return fmt.Sprint(v)
}
