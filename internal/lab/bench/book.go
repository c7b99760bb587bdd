package bench

import (
	"maps"
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

// Progress is how far a run has come.
type Progress struct {
	Published int
	Final     int
	Statuses  map[passcode.Status]int
	Latency   Latency
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
