package emulator

import (
	"hash/maphash"
	"sync"
	"time"
)

// nonces remembers which nonces were used, each until its request's time leaves
// the clock window and a replay fails by that alone. Of a nonce only a 64 bit
// hash is kept: at 5,000 requests a second 4.5 million are alive, and one of
// them is mistaken for another once in a million such runs.
type nonces struct {
	seed maphash.Seed

	mu   sync.Mutex
	used map[uint64]struct{}
	// expiring lists them by the minute in which they can be forgotten.
	expiring map[int64][]uint64
	swept    int64 // the last minute that was swept
}

func newNonces() *nonces {
	n := &nonces{seed: maphash.MakeSeed()}
	n.reset()
	return n
}

func (n *nonces) reset() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.used = map[uint64]struct{}{}
	n.expiring = map[int64][]uint64{}
	n.swept = 0
}

// use reports whether a nonce is new, and remembers it until expiry has passed.
func (n *nonces) use(nonce string, expiry, now time.Time) bool {
	key := maphash.String(n.seed, nonce)
	minute := expiry.Unix()/60 + 1 // rounded up: kept a little too long, never too short
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sweep(now.Unix() / 60)
	if _, twice := n.used[key]; twice {
		return false
	}
	n.used[key] = struct{}{}
	n.expiring[minute] = append(n.expiring[minute], key)
	return true
}

// sweep forgets what expired. It looks at the few dozen lists once a minute.
func (n *nonces) sweep(minute int64) {
	if minute == n.swept {
		return
	}
	n.swept = minute
	for m, keys := range n.expiring {
		if m > minute {
			continue
		}
		for _, key := range keys {
			delete(n.used, key)
		}
		delete(n.expiring, m)
	}
}
