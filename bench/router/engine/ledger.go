package engine

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
)

// ledger knows the handoffs that prefills gave and no decode has used.
type ledger struct {
	next atomic.Uint64
	open [1 << 16]atomic.Uint64 // by number modulo length; 0 is used
}

// blockBytes is how much of a body one block of KV stands for: 16 tokens of
// four bytes. Long prompts have long lists of blocks, which the router carries.
const blockBytes = 64

// blockList is ids of blocks with commas; its first n are blockList[:blockEnd[n]].
func blockList(n int) (string, []int) {
	var b strings.Builder
	ends := make([]int, n+1)
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(1000 + 7*i%9000))
		ends[i+1] = b.Len()
	}
	return b.String(), ends
}

// handoff appends a prefill's answer, with params that can be used once. As
// vLLM does, it makes the request's id of the client's and eight hex digits.
func (i *instance) handoff(out []byte, id string, size int) []byte {
	n := 1<<28 + i.ledger.next.Add(1)%(1<<28)
	i.ledger.open[n%uint64(len(i.ledger.open))].Store(n)
	blocks := min(size/blockBytes+1, len(i.blockEnd)-1)
	out = append(out, answerHead...)
	out = append(out, `"choices":[{"index":0,"message":{"role":"assistant","content":"x"},"finish_reason":"length"}],"kv_transfer_params":{"do_remote_prefill":true,"do_remote_decode":false,"remote_block_ids":[[`...)
	out = append(out, i.blocks[:i.blockEnd[blocks]]...)
	out = append(out, `]],"remote_engine_id":"`...)
	out = append(out, i.id...)
	out = append(out, `","remote_request_id":"chatcmpl-`...)
	out = append(out, id...)
	out = append(out, '-')
	out = strconv.AppendUint(out, n, 16)
	out = append(out, `","remote_host":"127.0.0.1","remote_port":`...)
	out = strconv.AppendInt(out, int64(i.port), 10)
	return append(out, `,"tp_size":1,"remote_num_tokens":100,"remote_blocks_expiry_time":null,"transfer_mode":"pull"}}`...)
}

// redeem checks a handoff and marks it used.
func (i *instance) redeem(p map[string][]byte) error {
	if string(p["do_remote_prefill"]) != "true" || string(p["do_remote_decode"]) == "true" {
		return fmt.Errorf("leg 2 has do_remote_prefill %s, do_remote_decode %s", p["do_remote_prefill"], p["do_remote_decode"])
	}
	from := i.prefills[strings.Trim(string(p["remote_engine_id"]), `"`)]
	if from == nil {
		return fmt.Errorf("leg 2 names engine %s, which there is not", p["remote_engine_id"])
	}
	if port := string(p["remote_port"]); port != strconv.Itoa(from.port) {
		return fmt.Errorf("leg 2 names port %s of %s, which has %d", port, from.id, from.port)
	}
	if !bytes.HasPrefix(p["remote_block_ids"], []byte("[[1000")) && !bytes.HasPrefix(p["remote_block_ids"], []byte("[[ 1000")) {
		return fmt.Errorf("leg 2 has other blocks than %s gave", from.id)
	}
	id := strings.Trim(string(p["remote_request_id"]), `"`)
	n, err := strconv.ParseUint(id[strings.LastIndexByte(id, '-')+1:], 16, 64)
	if err != nil || n == 0 || !i.ledger.open[n%uint64(len(i.ledger.open))].CompareAndSwap(n, 0) {
		return fmt.Errorf("leg 2 has handoff %s, unknown or used", p["remote_request_id"])
	}
	return nil
}
