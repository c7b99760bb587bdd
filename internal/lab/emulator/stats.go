package emulator

import (
	"maps"
	"strings"
	"sync"
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
	// InFlight is how many requests are being worked on, MaxInFlight the most
	// there have been at once.
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

// counters keep the [Stats] but for the reports.
type counters struct {
	mu    sync.Mutex
	stats Stats
}

func newCounters() *counters {
	c := &counters{}
	c.reset()
	return c
}

// reset zeroes everything but the requests that are still being worked on.
func (c *counters) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	inFlight := c.stats.InFlight
	c.stats = Stats{
		Requests: map[string]int64{}, Answers: map[string]int64{},
		InFlight: inFlight, MaxInFlight: inFlight,
	}
}

func (c *counters) snapshot() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Requests, s.Answers = maps.Clone(s.Requests), maps.Clone(s.Answers)
	return s
}

func (c *counters) began() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.InFlight++
	c.stats.MaxInFlight = max(c.stats.MaxInFlight, c.stats.InFlight)
}

func (c *counters) ended() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.InFlight--
}

// answered counts one answer, when it is decided and before it is written, so
// that a test which has the answer finds it counted.
func (c *counters) answered(action string, a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if action == "" {
		action = "unknown"
	}
	c.stats.Requests[action]++
	c.stats.Answers[a.label]++
	c.stats.Accepted += int64(a.accepted)
	if a.faulty {
		c.stats.Faults++
	}
	if strings.HasPrefix(a.label, "Throttling") {
		c.stats.Throttled++
	}
}
