package choose

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// BlockBytes is how much prompt text one block of the prefix index stands
// for: some 128 tokens of English. Smaller blocks find shorter common prefixes
// and cost more memory.
const BlockBytes = 512

// Blocks appends to into one hash for each whole block of a part of a prompt,
// and returns the seed for the part that follows it. Each hash depends on
// everything before it, so two prompts share a hash exactly if they share the
// text up to the end of that block. The first seed keeps apart what is not
// interchangeable; see Seed.
func Blocks(into []uint64, seed uint64, text []byte) (blocks []uint64, next uint64) {
	var d xxhash.Digest
	for ; len(text) >= BlockBytes; text = text[BlockBytes:] {
		d.ResetWithSeed(seed)
		_, _ = d.Write(text[:BlockBytes]) // never fails
		seed = d.Sum64()
		into = append(into, seed)
	}
	if len(text) == 0 {
		return into, seed
	}
	d.ResetWithSeed(seed)
	_, _ = d.Write(text)
	return into, d.Sum64()
}

// Seed is where the blocks of a model's prompts begin.
func Seed(model string) uint64 { return xxhash.Sum64String(model) }

// rendezvous ranks an instance for a key, alike in every router. The instance
// with the highest rank holds the key; when one leaves, only its keys move.
func rendezvous(key uint64, id string) uint64 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], key)
	var d xxhash.Digest
	d.ResetWithSeed(xxhash.Sum64String(id))
	_, _ = d.Write(b[:])
	return d.Sum64()
}
