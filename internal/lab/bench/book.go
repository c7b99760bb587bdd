package bench

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// Book knows of each job of a run whether it was published, when a worker received it, how it ended, and whether the
// emulator accepted it. It is safe for concurrent use.
type Book struct {
	Requests

	mu       sync.Mutex
	jobs     []jobState        // a byte for each
	open     map[int]time.Time // when each job was published that is not final
	statuses map[passcode.Status]int
	receipts []time.Duration // how long jobs took until a worker announced its claim, in that order
	results  []time.Duration // and until their end
	audit    Audit
}

// jobState is what is known of one job.
type jobState uint8

const (
	jobPublished jobState = 1 << iota
	jobReceived
	jobFinal
	jobSent
	jobUnknown // nobody knows whether it was sent
	jobAccepted
)

// NewBook returns an empty book.
func NewBook(r Requests) *Book {
	return &Book{Requests: r, statuses: map[passcode.Status]int{}, open: map[int]time.Time{}}
}

// add notes something of a job, and reports whether it is new.
func (b *Book) add(i int, state jobState) bool {
	if missing := i + 1 - len(b.jobs); missing > 0 {
		b.jobs = append(b.jobs, make([]jobState, missing)...)
	}
	known := b.jobs[i]&state == state
	b.jobs[i] |= state
	return !known
}

// Publishing notes that a job is being published. at is when it should have been, so that
// a delay of its publication counts as latency.
func (b *Book) Publishing(i int, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(i, jobPublished)
	b.open[i] = at
}

// NotPublished takes a job back that the broker refused.
func (b *Book) NotPublished(i int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, open := b.open[i]; open {
		delete(b.open, i)
		b.jobs[i] &^= jobPublished
	}
}

// Announced notes when a worker announced its claim of a job, or how the job ended. It reports whether that is the end:
// a result may be announced twice.
func (b *Book) Announced(i int, status passcode.Status, at time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	published, open := b.open[i]
	if !open {
		return false
	}
	if status == passcode.StatusSending && b.add(i, jobReceived) { // the first of its attempts
		b.receipts = append(b.receipts, at.Sub(published))
	}
	if !status.Final() {
		return false
	}
	delete(b.open, i)
	state := jobFinal
	switch status {
	case passcode.StatusSent, passcode.StatusDelivered, passcode.StatusUndelivered:
		state |= jobSent
	case passcode.StatusUnknown:
		state |= jobUnknown
	}
	b.add(i, state)
	b.statuses[status]++
	b.results = append(b.results, at.Sub(published))
	return true
}

// Open lists the jobs that are published and not final.
func (b *Book) Open() []int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Sorted(maps.Keys(b.open))
}

// Settled reports whether every published job is final.
func (b *Book) Settled() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.open) == 0
}

// Progress is how far a run has come.
type Progress struct {
	Published int                     `json:"published"`
	Received  int                     `json:"received"`
	Final     int                     `json:"final"`
	Statuses  map[passcode.Status]int `json:"statuses"`
	Receipt   Latency                 `json:"receipt_latency_seconds"`
	Result    Latency                 `json:"latency_seconds"`
}

// Progress is how far the run has come, with the latencies of what came since it had come so far.
func (b *Book) Progress(since Progress) Progress {
	b.mu.Lock()
	p := Progress{
		Published: len(b.open) + len(b.results), Received: len(b.receipts), Final: len(b.results), Statuses: maps.Clone(b.statuses),
	}
	receipts, results := slices.Clone(b.receipts[since.Received:]), slices.Clone(b.results[since.Final:])
	b.mu.Unlock()
	p.Receipt, p.Result = latency(receipts), latency(results)
	return p
}

// Audit compares what the emulator accepted with the book.
type Audit struct {
	Accepted    int `json:"accepted"`     // messages that the emulator accepted
	Doubled     int `json:"doubled"`      // those that were one too many for their request
	Lost        int `json:"lost"`         // jobs published without a final result
	NotAccepted int `json:"not_accepted"` // requests that ended as sent without an accepted message
	Denied      int `json:"denied"`       // requests that ended otherwise with one
	Strange     int `json:"strange"`      // messages of no job of the run
}

// Accepted notes a message that the emulator accepted for a request id.
func (b *Book) Accepted(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.audit.Accepted++
	i, ours := b.Index(id)
	switch {
	case !ours:
		b.audit.Strange++
	case !b.add(i, jobAccepted):
		b.audit.Doubled++
	}
}

// Audit is complete once nothing is in progress.
func (b *Book) Audit() Audit {
	b.mu.Lock()
	defer b.mu.Unlock()
	audit := b.audit
	audit.Lost = len(b.open)
	for _, s := range b.jobs {
		switch {
		case s&jobSent != 0 && s&jobAccepted == 0:
			audit.NotAccepted++
		case s&jobAccepted != 0 && s&jobFinal != 0 && s&(jobSent|jobUnknown) == 0:
			audit.Denied++
		case s&jobAccepted != 0 && s&jobPublished == 0:
			audit.Strange++
		}
	}
	return audit
}

// Clean reports whether every job is final, and everything sent exactly once.
func (a Audit) Clean() bool { return a == Audit{Accepted: a.Accepted} }

// Latency is how long jobs took from the moment at which they should have been published, exactly.
type Latency struct {
	P50 span `json:"p50"`
	P90 span `json:"p90"`
	P95 span `json:"p95"`
	P99 span `json:"p99"`
	Max span `json:"max"`
}

// latency is that of jobs that took so long, which it sorts; 0 if there are none.
func latency(took []time.Duration) Latency {
	if len(took) == 0 {
		return Latency{}
	}
	slices.Sort(took)
	// A share of all jobs did not take longer than this.
	quantile := func(share float64) span {
		return span(took[int(math.Ceil(share*float64(len(took))))-1])
	}
	return Latency{P50: quantile(.50), P90: quantile(.90), P95: quantile(.95), P99: quantile(.99), Max: quantile(1)}
}

func (l Latency) String() string {
	return fmt.Sprintf("p50 %s, p90 %s, p99 %s", l.P50, l.P90, l.P99)
}

// span is how long something took.
type span time.Duration

// MarshalJSON writes seconds, to a microsecond.
func (s span) MarshalJSON() ([]byte, error) {
	return json.Marshal(rounded(time.Duration(s).Seconds(), 1e6))
}

// String has three digits.
func (s span) String() string {
	unit := math.Pow10(int(math.Log10(float64(max(s, 100)))) - 2)
	return time.Duration(s).Round(time.Duration(unit)).String()
}
