package gateway

import (
	"hash/maphash"
	"sync"
	"time"
)

// nonces remembers used nonces until their requests' times leave the clock window:
// from then on a replay fails by its time alone. It keeps a 64-bit hash of each:
// at 5,000 requests a second two are mistaken for one another once in a million runs.
type nonces struct {
	seed maphash.Seed

	mu sync.Mutex
	// used lists them by the minute in which they are dropped, so that no request
	// waits until millions were looked at.
	used map[int64]map[uint64]struct{}
}

func newNonces() *nonces {
	return &nonces{seed: maphash.MakeSeed(), used: map[int64]map[uint64]struct{}{}}
}

func (n *nonces) reset() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.used)
}

// use reports whether a nonce is new, and remembers it until expiry has passed.
func (n *nonces) use(nonce string, expiry, now time.Time) bool {
	key := maphash.String(n.seed, nonce)
	n.mu.Lock()
	defer n.mu.Unlock()
	for minute, used := range n.used {
		if minute <= now.Unix()/60 {
			delete(n.used, minute)
		} else if _, twice := used[key]; twice {
			return false
		}
	}
	minute := expiry.Unix()/60 + 1 // rounded up: kept a little too long, never too short
	if n.used[minute] == nil {
		n.used[minute] = map[uint64]struct{}{}
	}
	n.used[minute][key] = struct{}{}
	return true
}
