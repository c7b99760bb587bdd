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

// Book says of each job whether it was published and what became of it. It is
// safe for concurrent use.
type Book struct {
	began time.Time

	mu        sync.Mutex
	published int
	final     int
	statuses  map[passcode.Status]int
	// open holds when each job was published that is not final.
	open map[int]time.Duration
	// done are the jobs that are final, sent those of them that were sent, and
	// perhaps those of which nobody knows.
	done, sent, perhaps bits
	total               histogram
	recent              histogram
}

// NewBook returns an empty book of a run that begins now.
func NewBook(began time.Time) *Book {
	return &Book{began: began, statuses: map[passcode.Status]int{}, open: map[int]time.Duration{}}
}

// Publishing notes that a job is being published. at is when it should have
// been: what holds up its publication counts as latency.
func (b *Book) Publishing(i int, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.published++
	b.open[i] = at.Sub(b.began)
}

// NotPublished takes a job back that the broker refused.
func (b *Book) NotPublished(i int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, open := b.open[i]; open {
		delete(b.open, i)
		b.published--
	}
}

// Ended notes the final status of a job, heard at a time, and reports whether it
// is news: a result may be announced twice.
func (b *Book) Ended(i int, status passcode.Status, at time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	published, open := b.open[i]
	if !open {
		return false
	}
	delete(b.open, i)
	b.done.set(i)
	b.final++
	b.statuses[status]++
	switch status {
	case passcode.StatusSent, passcode.StatusDelivered, passcode.StatusUndelivered:
		b.sent.set(i)
	case passcode.StatusUnknown:
		b.perhaps.set(i)
	}
	latency := at.Sub(b.began) - published
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

// Settled reports whether every job that was published is final.
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

// Progress is how far the run has come, with the latencies since it was last
// asked for.
func (b *Book) Progress() Progress {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.progress(b.recent.latency())
	b.recent = histogram{}
	return p
}

// Total is how far the run has come, with all latencies.
func (b *Book) Total() Progress {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.progress(b.total.latency())
}

func (b *Book) progress(l Latency) Progress {
	return Progress{Published: b.published, Final: b.final, Statuses: maps.Clone(b.statuses), Latency: l}
}

// resolution is by how much one bucket's upper bound exceeds the one's before:
// a percentile is at most so much too high.
const resolution = 1.02

// buckets reach from 10 µs, which is less than any job takes, to days.
const (
	firstBucket = 10 * time.Microsecond
	buckets     = 1200
)

// histogram counts latencies, whatever their number, in a fixed space.
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

// quantile is the latency that a share q of all did not exceed; 0 where there
// were none.
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

// Latency is how long jobs took from their publication, or the moment at which
// they should have been published, to the news of their final result.
type Latency struct {
	P50 time.Duration
	P95 time.Duration
	P99 time.Duration
	Max time.Duration
}

// MarshalJSON writes seconds, to a tenth of a millisecond.
func (l Latency) MarshalJSON() ([]byte, error) {
	seconds := func(d time.Duration) float64 { return d.Round(100 * time.Microsecond).Seconds() }
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
