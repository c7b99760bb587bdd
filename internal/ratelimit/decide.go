package ratelimit

import (
	"slices"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// moveTolerance: a repeat within it is the same attempt, and moves no reservation.
const moveTolerance = time.Millisecond

// The functions below change a document in memory. Where they say that it is not to
// be stored, it is of no further use.

// reserve is [Limiter.Reserve] at local time now. It also says whether to store the
// document. A move is judged like a new reservation with the old one set aside.
func (d *document) reserve(id string, revision uint64, now int64, rules []domain.Rule) (domain.Reservation, bool) {
	local, now := now, d.latest(now)
	own := d.take(id)
	if until, rule := d.blockedUntil(now, rules); until > now {
		// The wait is for the local clock to get there, even if it is behind.
		return domain.Reservation{RetryAfter: time.Duration(until - local), Rule: rule}, false
	}
	allowed := domain.Reservation{Allowed: true}
	// A worker that is late with an earlier attempt leaves the later one's mark.
	revision = max(revision, own.Revision)
	if len(rules) == 0 || own.ID != "" && own.Revision == revision && now-own.At < int64(moveTolerance) {
		return allowed, false
	}
	d.prune(now, rules)
	d.Entries = append(d.Entries, entry{ID: id, At: now, Revision: revision})
	return allowed, true
}

// release is [Limiter.Release]. It says whether to store the document.
func (d *document) release(id string, revision uint64, now int64, rules []domain.Rule) bool {
	now = d.latest(now)
	own := d.take(id)
	if own.ID == "" || own.Revision > revision {
		return false
	}
	d.prune(now, rules)
	return true
}

// closeFor is [Limiter.CloseFor]. It says whether to store the document.
func (d *document) closeFor(duration time.Duration, now int64, rules []domain.Rule) bool {
	until := now + int64(min(duration, MaxClosure))
	if duration <= 0 || until <= d.ClosedUntil {
		return false
	}
	d.prune(d.latest(now), rules)
	d.ClosedUntil = until
	return true
}

// latest is the time that counts as now: no earlier than any reservation, whose replica's clock may be ahead.
func (d *document) latest(now int64) int64 {
	if last := len(d.Entries) - 1; last >= 0 {
		return max(now, d.Entries[last].At)
	}
	return now
}

// take removes the request's own entry and returns it; one without an ID if it has none.
func (d *document) take(id string) (own entry) {
	if i := slices.IndexFunc(d.Entries, func(e entry) bool { return e.ID == id }); i >= 0 {
		own = d.Entries[i]
		d.Entries = slices.Delete(d.Entries, i, i+1)
	}
	return own
}

// blockedUntil returns from when on one more reservation fits under every rule, and what binds until then.
func (d *document) blockedUntil(now int64, rules []domain.Rule) (until int64, by string) {
	until = now
	if d.ClosedUntil > now {
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

// prune removes the reservations that count under no rule any more.
func (d *document) prune(now int64, rules []domain.Rule) {
	oldest := now - int64(longest(rules))
	d.Entries = slices.DeleteFunc(d.Entries, func(e entry) bool { return e.At <= oldest })
}

// longest returns the longest window.
func longest(rules []domain.Rule) time.Duration {
	var window time.Duration
	for _, rule := range rules {
		window = max(window, rule.Window)
	}
	return window
}
