package emulator

import (
	"cmp"
	"maps"
	"strings"
)

// Stats counts what the emulator did since it began or was reset.
type Stats struct {
	// Requests counts by action, all that are not served as "unknown". Answers counts by
	// code, or a fault that answers no code by its kind, such as "accept_drop".
	Requests    map[string]int64 `json:"requests"`
	Answers     map[string]int64 `json:"answers"`
	Accepted    int64            `json:"accepted"`  // messages, one for each number
	Throttled   int64            `json:"throttled"` // answers with one of the Throttling codes
	Faults      int64            `json:"faults"`    // requests that met one
	InFlight    int64            `json:"in_flight"`
	MaxInFlight int64            `json:"max_in_flight"`
	Reports     ReportStats      `json:"reports"`
}

// ReportStats counts delivery reports, one for each message.
type ReportStats struct {
	Delivered int64 `json:"delivered"` // answered as the service wants it
	Failed    int64 `json:"failed"`    // pushes; each but the last is repeated
	GivenUp   int64 `json:"given_up"`
}

func newStats() Stats { return Stats{Requests: map[string]int64{}, Answers: map[string]int64{}} }

// Stats returns the counters.
func (e *Emulator) Stats() Stats {
	e.mu.Lock()
	s := e.stats
	s.Requests, s.Answers = maps.Clone(s.Requests), maps.Clone(s.Answers)
	e.mu.Unlock()
	if e.pusher != nil {
		s.Reports = e.pusher.stats()
	}
	return s
}

// answered counts an answer before it is written, so that a test which has the answer
// finds it counted.
func (e *Emulator) answered(action string, a answer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats.Requests[cmp.Or(action, "unknown")]++
	e.stats.Answers[a.label]++
	e.stats.Accepted += int64(a.accepted)
	if a.fault.Kind != "" {
		e.stats.Faults++
	}
	if strings.HasPrefix(a.label, "Throttling") {
		e.stats.Throttled++
	}
}
