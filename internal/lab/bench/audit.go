package bench

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

// Add takes a message that the emulator accepted, by the request id that it bears.
func (a *Auditor) Add(outID string) {
	a.audit.Accepted++
	i, ours := a.requests.Index(outID)
	switch {
	case !ours:
		a.audit.Strange++
	case !a.accepted.set(i):
		a.audit.Doubled++
	}
}

// Close compares with the book, when nothing is in progress any more.
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

// bits is a set of indexes, one bit each.
type bits struct{ words []uint64 }

// set adds an index and reports whether it was new.
func (b *bits) set(i int) bool {
	for len(b.words) <= i/64 {
		b.words = append(b.words, 0)
	}
	word, mask := &b.words[i/64], uint64(1)<<(i%64)
	if *word&mask != 0 {
		return false
	}
	*word |= mask
	return true
}

func (b *bits) has(i int) bool {
	return i/64 < len(b.words) && b.words[i/64]&(1<<(i%64)) != 0
}
