package emulator

import (
	"maps"
	"strings"
)

// Stats counts what the emulator did since it began or was reset.
type Stats struct {
	// Requests counts by action; "unknown" stands for all that the emulator does
	// not serve.
	Requests map[string]int64 `json:"requests"`
	// Answers counts by code. A fault that answers no code counts under its
	// kind, such as "drop" or "accept_drop".
	Answers map[string]int64 `json:"answers"`
	// Accepted is how many messages were accepted, one for each number.
	Accepted int64 `json:"accepted"`
	// Throttled is how many answers carried one of the Throttling codes.
	Throttled int64 `json:"throttled"`
	// Faults is how many requests met a fault.
	Faults int64 `json:"faults"`
	// InFlight is how many requests are in progress, MaxInFlight the most there
	// have been at once.
	InFlight    int64 `json:"in_flight"`
	MaxInFlight int64 `json:"max_in_flight"`
	// Reports counts delivery reports, one for each message.
	Reports ReportStats `json:"reports"`
}

// ReportStats counts delivery reports.
type ReportStats struct {
	// Delivered were answered as the service wants it.
	Delivered int64 `json:"delivered"`
	// Failed counts pushes that failed; each but the last is repeated.
	Failed int64 `json:"failed"`
	// GivenUp failed to the last.
	GivenUp int64 `json:"given_up"`
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

// answered counts one answer. This happens before it is written, so that a test
// which has the answer finds it counted.
func (e *Emulator) answered(action string, a answer) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if action == "" {
		action = "unknown"
	}
	e.stats.Requests[action]++
	e.stats.Answers[a.label]++
	e.stats.Accepted += int64(a.accepted)
	if a.faulty {
		e.stats.Faults++
	}
	if strings.HasPrefix(a.label, "Throttling") {
		e.stats.Throttled++
	}
}
