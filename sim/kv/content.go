package kv

// State is what attention over a run of positions yields.
type State uint64

// Slot is the content of one position of the cache.
type Slot uint64

// Start is the state before the first position. The weights of a LoRA adapter
// make what follows another's than the base model's (""), so that KV which was
// computed under one name and used under another yields another text.
func Start(adapter string) State { return State(HashSalt(adapter)) }

// Compute is a forward pass over one token: what is stored at its position.
func Compute(past State, token int) Slot {
	return Slot(mix(uint64(past) ^ mix(uint64(token)+0x51ed27)))
}

// Attend extends the state by one stored position. It must read the position,
// not the token: that is what makes the contents matter.
func Attend(past State, slot Slot) State {
	return State(mix(uint64(past)*0x9e3779b97f4a7c15 + uint64(slot)))
}

// Draw picks one of n from a state; salt tells draws over the same state apart.
func Draw(s State, salt uint64, n int) int {
	return int(mix(uint64(s)^mix(salt)) % uint64(n))
}

// mix is a bijective scrambling of 64 bits (the finalizer of splitmix64).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb
	return x ^ (x >> 31)
}

// Hash names the tokens of a full block and of everything before it.
type Hash uint64

// HashBlock chains a block's tokens to its parent's hash. The first block's
// parent is HashSalt.
func HashBlock(parent Hash, tokens []int) Hash {
	h := mix(uint64(parent) ^ 0xb10c)
	for _, t := range tokens {
		h = mix(h ^ uint64(t))
	}
	return Hash(h)
}

// HashSalt starts a chain; requests with different salts share no blocks.
func HashSalt(salt string) Hash {
	h := uint64(len(salt))
	for i := 0; i < len(salt); i++ {
		h = mix(h ^ uint64(salt[i]))
	}
	return Hash(h)
}
