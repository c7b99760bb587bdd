package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Audit holds what the emulator accepted against the book.
type Audit struct {
	// Accepted is how many messages the emulator accepted.
	Accepted int `json:"accepted"`
	// Doubled is how many of them were one too many for their request.
	Doubled int `json:"doubled"`
	// Lost is how many jobs were published and have no final result.
	Lost int `json:"lost"`
	// NotAccepted is how many requests ended as sent without a message that the
	// emulator accepted.
	NotAccepted int `json:"not_accepted"`
	// Denied is how many requests ended otherwise than as sent although the
	// emulator accepted a message.
	Denied int `json:"denied"`
	// Strange is how many messages belong to no job of the run.
	Strange int `json:"strange"`
}

// Auditor reads what the emulator accepted. Its memory is one bit a job.
type Auditor struct {
	requests Requests
	accepted bits
	audit    Audit
}

// NewAuditor returns an auditor for the jobs of a run.
func NewAuditor(r Requests) *Auditor { return &Auditor{requests: r} }

// Accepted is how many messages were read.
func (a *Auditor) Accepted() int { return a.audit.Accepted }

// Read takes messages as the emulator lists them, one JSON object a line. Where
// it fails, those before the failure were taken.
func (a *Auditor) Read(r io.Reader) error {
	lines := json.NewDecoder(r)
	for {
		var message struct {
			OutID string `json:"out_id"`
		}
		err := lines.Decode(&message)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read what the emulator accepted: %w", err)
		}
		a.audit.Accepted++
		i, ours := a.requests.Index(message.OutID)
		switch {
		case !ours:
			a.audit.Strange++
		case !a.accepted.set(i):
			a.audit.Doubled++
		}
	}
}

// Close compares with the book, when nothing is under way any more.
func (a *Auditor) Close(b *Book) Audit {
	b.mu.Lock()
	defer b.mu.Unlock()
	audit := a.audit
	audit.Lost = len(b.open)
	for i := range 64 * max(len(b.done.words), len(a.accepted.words)) {
		accepted, done, sent := a.accepted.has(i), b.done.has(i), b.sent.has(i)
		_, open := b.open[i]
		switch {
		case sent && !accepted:
			audit.NotAccepted++
		case accepted && done && !sent && !b.perhaps.has(i):
			audit.Denied++
		case accepted && !done && !open:
			audit.Strange++
		}
	}
	return audit
}

// Clean reports whether every job is final, and everything sent exactly once.
func (a Audit) Clean() bool {
	return a.Doubled+a.Lost+a.NotAccepted+a.Denied+a.Strange == 0
}
