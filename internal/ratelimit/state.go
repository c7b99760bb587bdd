package ratelimit

import (
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// State is what the limiter knows of one phone, for operators.
type State struct {
	// Windows has one item a rule, in the order of the rules.
	Windows []Window `json:"windows"`
	// ClosedUntil is when Aliyun's own limit opens the phone again; zero where
	// the phone is not closed.
	ClosedUntil time.Time `json:"closed_until,omitzero"`
	// NextAllowed is the earliest time at which a new request is allowed; zero
	// where one is allowed now.
	NextAllowed time.Time `json:"next_allowed_at,omitzero"`
	// Entries are the places that still count under some rule, oldest first.
	Entries []Entry `json:"entries"`
}

// Window is how far one rule is used up.
type Window struct {
	Rule domain.Rule `json:"rule"`
	Used int         `json:"used"`
	Max  int         `json:"max"`
}

// Entry is the place of one request.
type Entry struct {
	RequestID string    `json:"request_id"`
	At        time.Time `json:"at"`
}

// state describes the document at local time now.
func (d document) state(now int64, rules []domain.Rule) State {
	now = d.latest(now)
	d = d.pruned(now, rules)
	s := State{Windows: make([]Window, 0, len(rules)), Entries: make([]Entry, 0, len(d.Entries))}
	for _, rule := range rules {
		used := 0
		for _, e := range d.Entries {
			if now-e.At < int64(rule.Window) {
				used++
			}
		}
		s.Windows = append(s.Windows, Window{Rule: rule, Used: used, Max: rule.Max})
	}
	for _, e := range d.Entries {
		s.Entries = append(s.Entries, Entry{RequestID: e.ID, At: instant(e.At)})
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
