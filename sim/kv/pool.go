package kv

// Pool is the blocks of one engine. Block 0 is never handed out, as in vLLM.
type Pool struct {
	size   int // tokens in a block
	blocks []block
	free   list
	cached map[Hash]int
	used   int
}

type block struct {
	slots      []Slot // made when the block is first written
	refs       int
	hash       Hash
	hashed     bool
	prev, next int
}

// NewPool makes a pool of n blocks of size tokens each.
func NewPool(n, size int) *Pool {
	p := &Pool{size: size, blocks: make([]block, n), cached: map[Hash]int{}}
	p.free.blocks = p.blocks
	for id := 1; id < n; id++ {
		p.free.pushBack(id)
	}
	return p
}

// BlockSize is the number of tokens in a block.
func (p *Pool) BlockSize() int { return p.size }

// Free is the number of blocks that an allocation could get.
func (p *Pool) Free() int { return p.free.n }

// Usage is the share of blocks in use, 0 to 1.
func (p *Pool) Usage() float64 { return float64(p.used) / float64(max(len(p.blocks)-1, 1)) }

// Used is the number of blocks in use.
func (p *Pool) Used() int { return p.used }

// Allocate takes n blocks, or none if there are not n. What they held before
// is still in them, and no longer found by hash.
func (p *Pool) Allocate(n int) ([]int, bool) {
	if n > p.free.n {
		return nil, false
	}
	ids := make([]int, n)
	for i := range ids {
		id := p.free.popFront()
		b := &p.blocks[id]
		if b.hashed {
			delete(p.cached, b.hash)
			b.hashed = false
		}
		b.refs = 1
		ids[i] = id
	}
	p.used += n
	return ids, true
}

// Match finds the longest run of cached blocks for a chain of hashes and takes
// a reference on each.
func (p *Pool) Match(hashes []Hash) []int {
	var ids []int
	for _, h := range hashes {
		id, ok := p.cached[h]
		if !ok {
			break
		}
		ids = append(ids, id)
	}
	for _, id := range ids {
		b := &p.blocks[id]
		if b.refs == 0 {
			p.free.remove(id)
			p.used++
		}
		b.refs++
	}
	return ids
}

// Name makes a full block findable by its hash. The first block of a hash
// keeps the name. It reports whether the block got it.
func (p *Pool) Name(id int, h Hash) bool {
	if _, taken := p.cached[h]; taken {
		return false
	}
	b := &p.blocks[id]
	b.hash, b.hashed = h, true
	p.cached[h] = id
	return true
}

// Release drops one reference on each block. The last blocks of a request are
// the first to be reused; those that nobody can find go to the very front.
func (p *Pool) Release(ids []int) {
	for i := len(ids) - 1; i >= 0; i-- {
		id := ids[i]
		b := &p.blocks[id]
		if b.refs--; b.refs > 0 {
			continue
		}
		p.used--
		if b.hashed {
			p.free.pushBack(id)
		} else {
			p.free.pushFront(id)
		}
	}
}

// Forget drops every name that no request holds, so that no later request
// finds a cached prefix.
func (p *Pool) Forget() {
	for h, id := range p.cached {
		p.blocks[id].hashed = false
		delete(p.cached, h)
	}
}

// Has reports whether a block of that id exists.
func (p *Pool) Has(id int) bool { return id >= 0 && id < len(p.blocks) }

// Slots is a copy of a block's contents.
func (p *Pool) Slots(id int) []Slot {
	out := make([]Slot, p.size)
	copy(out, p.blocks[id].slots)
	return out
}

// Get is the content of one position of a block.
func (p *Pool) Get(id, pos int) Slot {
	if s := p.blocks[id].slots; s != nil {
		return s[pos]
	}
	return 0
}

// Set writes one position of a block.
func (p *Pool) Set(id, pos int, s Slot) {
	b := &p.blocks[id]
	if b.slots == nil {
		b.slots = make([]Slot, p.size)
	}
	b.slots[pos] = s
}

// SetAll replaces a block's contents.
func (p *Pool) SetAll(id int, slots []Slot) {
	for i := 0; i < p.size && i < len(slots); i++ {
		p.Set(id, i, slots[i])
	}
}

// list is the free blocks in the order of their reuse, linked through the
// blocks themselves; 0 ends it, because block 0 is never free.
type list struct {
	blocks      []block
	first, last int
	n           int
}

func (l *list) pushBack(id int) {
	b := &l.blocks[id]
	b.prev, b.next = l.last, 0
	if l.last != 0 {
		l.blocks[l.last].next = id
	} else {
		l.first = id
	}
	l.last = id
	l.n++
}

func (l *list) pushFront(id int) {
	b := &l.blocks[id]
	b.prev, b.next = 0, l.first
	if l.first != 0 {
		l.blocks[l.first].prev = id
	} else {
		l.last = id
	}
	l.first = id
	l.n++
}

func (l *list) popFront() int {
	id := l.first
	l.remove(id)
	return id
}

func (l *list) remove(id int) {
	b := &l.blocks[id]
	if b.prev != 0 {
		l.blocks[b.prev].next = b.next
	} else {
		l.first = b.next
	}
	if b.next != 0 {
		l.blocks[b.next].prev = b.prev
	} else {
		l.last = b.prev
	}
	b.prev, b.next = 0, 0
	l.n--
}
