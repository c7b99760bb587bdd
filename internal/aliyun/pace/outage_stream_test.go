package pace

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// stream is a jobs stream in memory that any number of workers share. A job that
// is requeued comes again when its delay has run out, and then ahead of those
// that nobody was given yet, as with NATS.
type stream struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced with every change
	fresh   []*delivery
	delayed []*delivery // by the end of their delay
	open    int         // jobs that are not done
	seq     uint64
}

func newStream() *stream { return &stream{changed: make(chan struct{})} }

// publish stores a job with a request and a phone of its own.
func (s *stream) publish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	s.open++
	s.fresh = append(s.fresh, &delivery{
		stream: s, seq: s.seq, queued: time.Now().UTC(),
		body: fmt.Appendf(nil, `{"request_id":"r%d","phone":"+86138%08d","code":"pq7z9x"}`, s.seq, s.seq),
	})
	s.tell()
}

func (s *stream) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// left is how many jobs are not done.
func (s *stream) left() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// take recalls the job that is next, or how long until there may be one.
func (s *stream) take() (*delivery, time.Duration, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := time.Hour
	if len(s.delayed) > 0 {
		if wait = time.Until(s.delayed[0].due); wait <= 0 {
			d := s.delayed[0]
			s.delayed = s.delayed[1:]
			return d, 0, nil
		}
	}
	if len(s.fresh) > 0 {
		d := s.fresh[0]
		s.fresh = s.fresh[1:]
		return d, 0, nil
	}
	return nil, wait, s.changed
}

// source is one worker's view of the stream.
type source struct {
	*stream
	drained chan struct{}
}

func (s source) Drain() { close(s.drained) }

func (s source) Next(ctx context.Context) (domain.Delivery, error) {
	for {
		select {
		case <-s.drained:
			return nil, domain.ErrDrained
		default:
		}
		d, wait, changed := s.take()
		if d != nil {
			return d, nil
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-changed:
		case <-s.drained:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		timer.Stop()
	}
}

// delivery is one job.
type delivery struct {
	stream *stream
	seq    uint64
	body   []byte
	queued time.Time
	due    time.Time
}

func (d *delivery) Body() []byte         { return d.body }
func (d *delivery) Header(string) string { return "" }
func (d *delivery) Extend() error        { return nil }
func (d *delivery) Term(string) error    { return d.Ack() }
func (d *delivery) Origin() domain.Origin {
	return domain.Origin{Stream: "PASSCODE", Seq: d.seq, Subject: "passcode.send", QueuedAt: d.queued}
}

func (d *delivery) Ack() error {
	d.stream.mu.Lock()
	defer d.stream.mu.Unlock()
	d.stream.open--
	return nil
}

func (d *delivery) Nak(delay time.Duration) error {
	d.stream.mu.Lock()
	defer d.stream.mu.Unlock()
	d.due = time.Now().Add(delay)
	at, _ := slices.BinarySearchFunc(d.stream.delayed, d.due, func(d *delivery, due time.Time) int { return d.due.Compare(due) })
	d.stream.delayed = slices.Insert(d.stream.delayed, at, d)
	d.stream.tell()
	return nil
}
