package ratelimit

import (
	"slices"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// moveTolerance: a repeat within it is the same attempt, and moves no reservation.
const moveTolerance = time.Millisecond

// The functions below are pure, so they can be run again after a lost
// compare-and-swap.

// reserve is [Limiter.Reserve] at local time now. It also says whether the document
// changed. A move is judged like a new reservation with the old one set aside.
func (d document) reserve(id string, revision uint64, now int64, rules []domain.Rule) (document, domain.Reservation, bool) {
	local, now := now, d.latest(now)
	own, others := d.split(id)
	if until, rule := others.blockedUntil(now, rules); until > now {
		// The wait is for the local clock to get there, even if it is behind.
		return d, domain.Reservation{RetryAfter: time.Duration(until - local), Rule: rule}, false
	}
	allowed := domain.Reservation{Allowed: true}
	if own != nil {
		// A worker that is late with an earlier attempt leaves the later one's mark.
		revision = max(revision, own.Revision)
	}
	if len(rules) == 0 || own != nil && own.Revision == revision && now-own.At < int64(moveTolerance) {
		return d, allowed, false
	}
	next := others.pruned(now, rules)
	next.Entries = append(next.Entries, entry{ID: id, At: now, Revision: revision})
	return next, allowed, true
}

// release ends the reservation of a request, if it has one that no later attempt
// holds.
func (d document) release(id string, revision uint64, now int64, rules []domain.Rule) (document, bool) {
	own, others := d.split(id)
	if own == nil || own.Revision > revision {
		return d, false
	}
	return others.pruned(d.latest(now), rules), true
}

// closeFor closes the phone until duration after now. It never shortens a
// closure: of two messages from Aliyun the one that forbids longer is the rule.
func (d document) closeFor(duration time.Duration, now int64, rules []domain.Rule) (document, bool) {
	until := now + int64(min(duration, MaxClosure))
	if duration <= 0 || until <= d.ClosedUntil {
		return d, false
	}
	next := d.pruned(d.latest(now), rules)
	next.ClosedUntil = until
	return next, true
}

// latest is the time that counts as now: no earlier than any reservation.
func (d document) latest(now int64) int64 {
	if last := len(d.Entries) - 1; last >= 0 {
		return max(now, d.Entries[last].At)
	}
	return now
}

// split returns the request's own entry, nil if it has none, and the document
// without it.
func (d document) split(id string) (*entry, document) {
	i := slices.IndexFunc(d.Entries, func(e entry) bool { return e.ID == id })
	if i < 0 {
		return nil, d
	}
	own := d.Entries[i]
	d.Entries = slices.Delete(slices.Clone(d.Entries), i, i+1)
	return &own, d
}

// blockedUntil returns the earliest instant from now on at which one more
// reservation fits under every rule, and what binds until then.
func (d document) blockedUntil(now int64, rules []domain.Rule) (until int64, by string) {
	until, by = now, ""
	if d.ClosedUntil > until {
		until, by = d.ClosedUntil, domain.RuleClosed
	}
	for _, rule := range rules {
		// A rule has room as soon as the Max-th newest reservation has left its window;
		// whatever is older has left it before.
		i := len(d.Entries) - rule.Max
		if i < 0 {
			continue
		}
		if free := d.Entries[i].At + int64(rule.Window); free > until {
			until, by = free, rule.String()
		}
	}
	return until, by
}

// pruned returns a copy without the reservations that count under no rule any more.
// The rule with the longest window has room for all that are left.
func (d document) pruned(now int64, rules []domain.Rule) document {
	oldest := now - int64(longest(rules))
	kept := make([]entry, 0, len(d.Entries)+1)
	for _, e := range d.Entries {
		if e.At > oldest {
			kept = append(kept, e)
		}
	}
	d.Entries = kept
	return d
}

// longest returns the longest window: what is older counts in no rule.
func longest(rules []domain.Rule) time.Duration {
	var window time.Duration
	for _, rule := range rules {
		window = max(window, rule.Window)
	}
	return window
}
