package admit

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"time"
)

// Key is a client's key and what it may ask. Zero limits are none.
type Key struct {
	// Name stands for the key in logs and messages.
	Name string
	// SHA256 is the hash of the key itself, in hex. Keys are random, so a plain
	// hash does not give them away.
	SHA256 string
	// Priority is the highest that its requests may have, and what they have
	// unless they ask for a lower one.
	Priority   Priority
	MaxRunning int     // requests at once; more wait
	MaxWaiting int     // requests that wait; more are rejected
	Rate       float64 // requests a second, with bursts of as many
}

// mayRun reports whether the key has a place of its own left.
func (k *Key) mayRun(u *usage) bool { return k.MaxRunning <= 0 || u.running < k.MaxRunning }

// bucket holds the tokens of a key's rate.
type bucket struct {
	tokens float64
	filled time.Time
}

// take takes a token, or says how long until there is one.
func (b *bucket) take(k *Key, now time.Time) time.Duration {
	if k.Rate <= 0 {
		return 0
	}
	burst := max(1, k.Rate)
	if b.filled.IsZero() {
		b.tokens = burst
	} else {
		b.tokens = min(burst, b.tokens+k.Rate*now.Sub(b.filled).Seconds())
	}
	b.filled = now
	if b.tokens < 1 {
		return time.Duration((1 - b.tokens) / k.Rate * float64(time.Second))
	}
	b.tokens--
	return 0
}

// Hash is what is kept of a key.
func Hash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// Keys knows which keys there are. It is immutable, but for its replacement as
// a whole: requests are admitted by the keys of the moment.
type Keys struct {
	byHash atomic.Pointer[map[[sha256.Size]byte]*Key]
	// anyone is whose requests are when no keys are required.
	anyone *Key
}

// NewKeys makes the set; with none, whoever asks is served.
func NewKeys(keys []Key) (*Keys, error) {
	k := &Keys{anyone: &Key{Priority: High}}
	return k, k.Replace(keys)
}

// Replace puts other keys in place, or keeps the old ones if any is wrong.
func (k *Keys) Replace(keys []Key) error {
	byHash := make(map[[sha256.Size]byte]*Key, len(keys))
	names := map[string]bool{}
	var errs []error
	for n, key := range keys {
		raw, err := hex.DecodeString(key.SHA256)
		var hash [sha256.Size]byte
		switch {
		case key.Name == "":
			errs = append(errs, fmt.Errorf("key number %d has no name", n+1))
		case names[key.Name]:
			errs = append(errs, fmt.Errorf("key %q is there twice", key.Name))
		case err != nil || copy(hash[:], raw) != sha256.Size || len(raw) != sha256.Size:
			errs = append(errs, fmt.Errorf("key %q: sha256 is not a SHA-256 in hex; make it with: printf %%s \"$KEY\" | sha256sum", key.Name))
		case byHash[hash] != nil:
			errs = append(errs, fmt.Errorf("keys %q and %q are the same key", byHash[hash].Name, key.Name))
		case math.IsNaN(key.Rate) || key.Rate < 0 || key.MaxRunning < 0 || key.MaxWaiting < 0:
			errs = append(errs, fmt.Errorf("key %q: a limit is negative; leave it out for none", key.Name))
		}
		names[key.Name] = true
		byHash[hash] = &key
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	k.byHash.Store(&byHash)
	return nil
}

// Required reports whether requests need a key.
func (k *Keys) Required() bool { return len(*k.byHash.Load()) > 0 }

// Find is the key of an Authorization header; false if there must be one and
// this is none. A hash is compared, so the time that it takes tells nothing of
// a key.
func (k *Keys) Find(authorization string) (*Key, bool) {
	byHash := *k.byHash.Load()
	if len(byHash) == 0 {
		return k.anyone, true
	}
	scheme, key, ok := strings.Cut(authorization, " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return nil, false
	}
	found, ok := byHash[sha256.Sum256([]byte(strings.TrimSpace(key)))]
	return found, ok
}
