package ratelimit

import (
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// State is what the limiter knows of one phone, for operators.
type State struct {
	Windows []Window `json:"windows"` // one for each rule, in their order
	// ClosedUntil is when Aliyun's own limit opens the phone again; zero: it is open.
	ClosedUntil time.Time `json:"closed_until,omitzero"`
	// NextAllowed is when a new request is allowed; zero: now.
	NextAllowed time.Time `json:"next_allowed_at,omitzero"`
	// Entries are the reservations that still count under some rule, oldest first.
	Entries []Entry `json:"entries"`
}

// Window is how far one rule is used up.
type Window struct {
	Rule domain.Rule `json:"rule"`
	Used int         `json:"used"`
	Max  int         `json:"max"`
	// NextFree is when a used-up rule allows a request again, otherwise when the
	// oldest reservation leaves the window. Zero where there is none.
	NextFree time.Time `json:"next_free_at,omitzero"`
}

// Entry is the reservation of one request.
type Entry struct {
	RequestID string    `json:"request_id"`
	At        time.Time `json:"at"`
	// Revision is what [Limiter.Reserve] was told.
	Revision uint64 `json:"-"`
}

// state describes the document at local time now.
func (d document) state(now int64, rules []domain.Rule) State {
	now = d.latest(now)
	d = d.pruned(now, rules)
	s := State{Windows: make([]Window, 0, len(rules)), Entries: make([]Entry, 0, len(d.Entries))}
	for _, rule := range rules {
		w := Window{Rule: rule, Max: rule.Max}
		for _, e := range d.Entries {
			if now-e.At < int64(rule.Window) {
				w.Used++
			}
		}
		if w.Used > 0 {
			next := d.Entries[len(d.Entries)-min(w.Used, rule.Max)]
			w.NextFree = instant(next.At + int64(rule.Window))
		}
		s.Windows = append(s.Windows, w)
	}
	for _, e := range d.Entries {
		s.Entries = append(s.Entries, Entry{RequestID: e.ID, At: instant(e.At), Revision: e.Revision})
	}
	if d.ClosedUntil > now {
		s.ClosedUntil = instant(d.ClosedUntil)
	}
	if until, _ := d.blockedUntil(now, rules); until > now {
		s.NextAllowed = instant(until)
	}
	return s
}

func instant(nanoseconds int64) time.Time { return time.Unix(0, nanoseconds).UTC() }
