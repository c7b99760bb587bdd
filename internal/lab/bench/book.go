package bench

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// Book knows of each job of a run whether it was published, how it ended and whether the
// emulator accepted it. It is safe for concurrent use.
type Book struct {
	Requests

	mu    sync.Mutex
	jobs  []jobState        // a byte for each
	open  map[int]time.Time // when each job was published that is not final
	final int
	audit Audit

	published int
	statuses  map[passcode.Status]int
	total     histogram
	recent    histogram
}

// jobState is what is known of one job.
type jobState uint8

const (
	jobPublished jobState = 1 << iota
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
	b.published++
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
		b.published--
	}
}

// Ended notes when the final status of a job arrived, and reports whether it is new: a
// result may be announced twice.
func (b *Book) Ended(i int, status passcode.Status, at time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	published, open := b.open[i]
	if !open {
		return false
	}
	delete(b.open, i)
	b.add(i, jobFinal)
	b.final++
	b.statuses[status]++
	switch status {
	case passcode.StatusSent, passcode.StatusDelivered, passcode.StatusUndelivered:
		b.add(i, jobSent)
	case passcode.StatusUnknown:
		b.add(i, jobUnknown)
	}
	latency := at.Sub(published)
	b.total.add(latency)
	b.recent.add(latency)
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
	Final     int                     `json:"final"`
	Statuses  map[passcode.Status]int `json:"statuses"`
	Latency   Latency                 `json:"latency_seconds"`
}

// Progress is how far the run has come, with the latencies since it was last asked for.
func (b *Book) Progress() Progress {
	p := b.Total()
	b.mu.Lock()
	defer b.mu.Unlock()
	p.Latency = b.recent.latency()
	b.recent = histogram{}
	return p
}

// Total is how far the run has come, with all latencies.
func (b *Book) Total() Progress {
	b.mu.Lock()
	defer b.mu.Unlock()
	return Progress{Published: b.published, Final: b.final, Statuses: maps.Clone(b.statuses), Latency: b.total.latency()}
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
func (a Audit) Clean() bool {
	return a.Doubled+a.Lost+a.NotAccepted+a.Denied+a.Strange == 0
}

// Buckets reach from 10 µs, which is less than any job takes, to days. Each ends at
// resolution times the end of the one before: percentiles are at most 2 % too high.
const (
	firstBucket = 10 * time.Microsecond
	resolution  = 1.02
	buckets     = 1200
)

// histogram counts any number of latencies in a fixed space.
type histogram struct {
	counts [buckets]int64
	count  int64
	max    time.Duration
}

func (h *histogram) add(d time.Duration) {
	i := 0
	if d > firstBucket {
		i = int(math.Ceil(math.Log(float64(d)/float64(firstBucket)) / math.Log(resolution)))
	}
	h.counts[min(i, buckets-1)]++
	h.count++
	h.max = max(h.max, d)
}

// quantile is the latency that a share q of all did not exceed; 0 if there were none.
func (h *histogram) quantile(q float64) time.Duration {
	rank := int64(math.Ceil(q * float64(h.count)))
	var seen int64
	for i, n := range h.counts {
		seen += n
		if n > 0 && seen >= rank {
			bound := time.Duration(float64(firstBucket) * math.Pow(resolution, float64(i)))
			return min(bound, h.max)
		}
	}
	return 0
}

// Latency is how long jobs took from the moment at which they should have been published
// to the arrival of their final result.
type Latency struct{ P50, P95, P99, Max time.Duration }

// MarshalJSON writes seconds, to a tenth of a millisecond.
func (l Latency) MarshalJSON() ([]byte, error) {
	seconds := func(d time.Duration) float64 { return rounded(d.Seconds(), 1e4) }
	return json.Marshal(struct {
		P50 float64 `json:"p50"`
		P95 float64 `json:"p95"`
		P99 float64 `json:"p99"`
		Max float64 `json:"max"`
	}{seconds(l.P50), seconds(l.P95), seconds(l.P99), seconds(l.Max)})
}

func (h *histogram) latency() Latency {
	return Latency{P50: h.quantile(.50), P95: h.quantile(.95), P99: h.quantile(.99), Max: h.max}
}
