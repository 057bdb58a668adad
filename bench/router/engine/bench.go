package engine

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"sync"
	"sync/atomic"
)

// bench is all engines of one process.
type bench struct {
	ledger   ledger
	choir    choir
	prefills map[string]*instance
	blocks   string
	blockEnd []int
	legs     [3]atomic.Int64
	seen     atomic.Int64
	prompts  sync.Map // traffic.Tag -> prompt, as the client sends it

	mu     sync.Mutex
	wrongs int
	first  string
}

// Addresses says where the engines listen, host:port.
type Addresses struct {
	Prefill []string `json:"prefill"`
	Decode  []string `json:"decode"`
	Plain   string   `json:"plain"`
}

// Counts is what the engines have seen since the last reset.
type Counts struct {
	// Prefill, Decode and Plain are the requests answered with 200.
	Prefill int64 `json:"prefill"`
	Decode  int64 `json:"decode"`
	Plain   int64 `json:"plain"`
	// Wrong is the requests that broke the protocol; First is the first one's fault.
	Wrong int    `json:"wrong"`
	First string `json:"first"`
	// Held is the streams that wait for a release now.
	Held int `json:"held"`
}

// Main serves n prefills, n decodes and a plain decode on loopback. It writes
// their addresses as a line of JSON, then answers each command line (reset,
// counts, release) with the counts, until the input ends.
func Main(n int, in io.Reader, out io.Writer) error {
	b := &bench{prefills: map[string]*instance{}}
	b.blocks, b.blockEnd = blockList(4096)
	var at Addresses
	var all []*instance
	for k := range n {
		p, err := b.listen(prefill, "prefill-"+strconv.Itoa(k))
		if err != nil {
			return err
		}
		d, err := b.listen(decode, "decode-"+strconv.Itoa(k))
		if err != nil {
			return err
		}
		b.prefills[p.id] = p
		all = append(all, p, d)
		at.Prefill = append(at.Prefill, p.listener.Addr().String())
		at.Decode = append(at.Decode, d.listener.Addr().String())
	}
	p, err := b.listen(plain, "plain")
	if err != nil {
		return err
	}
	at.Plain = p.listener.Addr().String()
	for _, i := range append(all, p) {
		go i.accept()
	}
	enc := json.NewEncoder(out)
	if err := enc.Encode(at); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		switch lines.Text() {
		case "reset":
			b.reset()
		case "release":
			b.choir.release()
		case "counts":
		default:
			return fmt.Errorf("no such command: %q", lines.Text())
		}
		if err := enc.Encode(b.counts()); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) wrong(format string, args ...any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.wrongs++; b.wrongs == 1 {
		b.first = fmt.Sprintf(format, args...)
	}
}

func (b *bench) counts() Counts {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Counts{
		Prefill: b.legs[prefill].Load(), Decode: b.legs[decode].Load(), Plain: b.legs[plain].Load(),
		Wrong: b.wrongs, First: b.first, Held: b.choir.held(),
	}
}

func (b *bench) reset() {
	for r := range b.legs {
		b.legs[r].Store(0)
	}
	b.choir.release() // streams that an aborted run left
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wrongs, b.first = 0, ""
}
