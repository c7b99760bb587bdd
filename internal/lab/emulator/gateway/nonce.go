package gateway

import (
	"hash/maphash"
	"sync"
	"time"
)

// nonces remembers which nonces were used, each until its request's time leaves
// the clock window: from then on a replay fails by its time alone. Only a 64-bit
// hash of a nonce is kept: at 5,000 requests a second 4.5 million are alive, and
// one of them is mistaken for another once in a million such runs.
type nonces struct {
	seed maphash.Seed

	mu   sync.Mutex
	used map[uint64]struct{}
	// expiring lists them by the minute in which they can be dropped, so that no
	// request waits until millions were looked at.
	expiring map[int64][]uint64
	swept    int64 // the last minute that was swept
}

func newNonces() *nonces {
	return &nonces{seed: maphash.MakeSeed(), used: map[uint64]struct{}{}, expiring: map[int64][]uint64{}}
}

func (n *nonces) reset() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.used)
	clear(n.expiring)
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
