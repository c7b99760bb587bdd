package account

import (
	"context"
	"crypto/rand"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
)

// update changes the document by compare-and-swap, again from the start as often
// as somebody else was faster. next gives the document to write, or false where
// there is nothing to do. update returns the view after it and whether it wrote.
// Only the holder of g.turn may call it.
func (g *Breaker) update(ctx context.Context, next func(*view) (document, bool)) (result *view, wrote bool, err error) {
	start := g.view.Load()
	base, tried := start, document{}
	err = bucket.Retry(ctx, func(ctx context.Context) error {
		if tried.ID != "" { // not the first round
			stored, err := g.read(ctx)
			if err != nil {
				return err
			}
			if stored.ID == tried.ID { // the answer was lost, not the write
				result, wrote = g.adopt(stored, start), true
				return nil
			}
			base = g.rebase(base, stored)
		}
		doc, write := next(base)
		if !write {
			result = base
			return nil
		}
		doc.ID, doc.Worker = rand.Text(), g.options.Worker
		tried = doc
		if doc.State == PhaseProbing {
			// Known before the write, since the watch may be faster than the answer.
			g.probe.Store(&doc.ID)
		}
		data, err := doc.encode()
		if err != nil {
			return err
		}
		revision, err := g.store.Swap(ctx, key, data, base.revision)
		if err != nil {
			return err
		}
		result, wrote = g.adopt(&view{document: doc, revision: revision}, start), true
		return nil
	})
	return result, wrote, err
}

// rebase returns what the next round builds upon, after a write was refused or
// its answer lost.
//
// A stored state that is older than ours, or gone, is one of three: the bucket
// dropped it by age, the bucket was made anew, or a follower that is behind has
// answered. The first two mean that our state stands and goes under the stored
// revision; in the third the next write is refused again. So the leader decides,
// and what we know to be newer is not thrown away for what may be stale.
func (g *Breaker) rebase(base, stored *view) *view {
	if stored.revision >= base.revision {
		g.see(stored)
		return g.bounded(stored)
	}
	return &view{document: base.document, revision: stored.revision, until: base.until}
}

// adopt makes a state that this gate wrote its view, unless the watch was faster
// and brought one that came after.
func (g *Breaker) adopt(v, start *view) *view {
	if v.revision <= start.revision {
		// The bucket was made anew and counts from the start again.
		g.mu.Lock()
		defer g.mu.Unlock()
		v = g.bounded(v)
		g.view.Store(v)
		return v
	}
	g.see(v)
	return g.bounded(v)
}

// see makes a state the view if it is newer, and reports whether it was.
func (g *Breaker) see(v *view) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if v.revision <= g.view.Load().revision {
		return false
	}
	g.view.Store(g.bounded(v))
	return true
}

// bounded sets until, no later than Max from now: a replica whose clock is far
// ahead must not stop the others for as long.
func (g *Breaker) bounded(v *view) *view {
	b := *v
	b.until = b.Until
	if b.State == PhaseProbing {
		b.until = b.ProbeUntil
	}
	if latest := g.now().Add(g.options.Max); b.until.After(latest) {
		b.until = latest
	}
	return &b
}

// read asks the broker for the state. One that can't be read counts as open: an
// account that still fails closes the gate again with the next call, while a gate
// that stays closed for a fault nobody sees sends nothing at all.
func (g *Breaker) read(ctx context.Context) (*view, error) {
	data, revision, err := g.store.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	return g.parse(data, revision), nil
}

func (g *Breaker) parse(data []byte, revision uint64) *view {
	doc, err := decode(data)
	if err != nil {
		g.log.Error("the account gate opens", "revision", revision, "error", err)
		doc = document{State: PhaseOpen}
	}
	return &view{document: doc, revision: revision}
}

// reload reads the state and takes it over if it is newer.
func (g *Breaker) reload(ctx context.Context) error {
	v, err := g.read(ctx)
	if err != nil {
		return err
	}
	g.see(v)
	return nil
}
