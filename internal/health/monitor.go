// Package health watches the things a worker depends on, so that readiness and
// metrics can tell at once how they stand.
package health

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// interval is how often the broker is asked.
const interval = 2 * time.Second

// askTimeout bounds one question.
const askTimeout = 2 * time.Second

// Monitor asks the broker now and then about the jobs stream and its consumer.
type Monitor struct {
	js               jetstream.JetStream
	stream, consumer string
	connected        func() bool
	account          func() string
	now              func() time.Time

	mu   sync.Mutex
	last snapshot
}

type snapshot struct {
	asked       bool
	err         error
	waiting     uint64 // jobs nobody has taken yet
	outstanding int    // jobs taken, or waiting for another attempt
	oldest      time.Time
	pausedFor   time.Duration
}

// New returns a monitor. connected says whether the broker is reachable; account
// says why nothing can be sent for the account, and is empty where it can.
func New(js jetstream.JetStream, stream, consumer string, connected func() bool, account func() string) *Monitor {
	return &Monitor{js: js, stream: stream, consumer: consumer, connected: connected, account: account, now: time.Now}
}

// Run asks until ctx ends.
func (m *Monitor) Run(ctx context.Context) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		s := m.ask(ctx)
		if ctx.Err() != nil {
			return
		}
		m.mu.Lock()
		m.last = s
		m.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (m *Monitor) ask(ctx context.Context) snapshot {
	ctx, cancel := context.WithTimeoutCause(ctx, askTimeout, fmt.Errorf("no answer within %s", askTimeout))
	defer cancel()
	s := snapshot{asked: true}
	stream, err := m.js.Stream(ctx, m.stream)
	if err != nil {
		s.err = named("stream "+m.stream, err)
		return s
	}
	// In a work queue the first message is the oldest job not done.
	if state := stream.CachedInfo().State; state.Msgs > 0 {
		s.oldest = state.FirstTime
	}
	consumer, err := stream.Consumer(ctx, m.consumer)
	if err != nil {
		s.err = named("consumer "+m.consumer, err)
		return s
	}
	info := consumer.CachedInfo()
	s.waiting, s.outstanding = info.NumPending, info.NumAckPending
	if info.Paused {
		s.pausedFor = info.PauseRemaining
	}
	return s
}

func named(what string, err error) error {
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, jetstream.ErrConsumerNotFound):
		return fmt.Errorf("%s does not exist", what)
	default:
		return fmt.Errorf("%s: %w", what, err)
	}
}

func (m *Monitor) snapshot() snapshot {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last
}

// NotReady returns what keeps the worker from doing its job.
func (m *Monitor) NotReady() []string {
	var reasons []string
	if !m.connected() {
		reasons = append(reasons, "broker: not connected")
	}
	s := m.snapshot()
	switch {
	case !s.asked:
		reasons = append(reasons, "broker: not asked yet")
	case s.err != nil:
		reasons = append(reasons, "broker: "+s.err.Error())
	}
	if why := m.account(); why != "" {
		reasons = append(reasons, "account: "+why)
	}
	return reasons
}

// OldestAge is how long the oldest job that is not done has been in the stream,
// in seconds; 0 where there is none.
func (m *Monitor) OldestAge() float64 {
	s := m.snapshot()
	if s.oldest.IsZero() {
		return 0
	}
	return max(m.now().Sub(s.oldest).Seconds(), 0)
}

// Waiting is how many jobs nobody has taken yet.
func (m *Monitor) Waiting() float64 { return float64(m.snapshot().waiting) }

// Outstanding is how many jobs are being handled by some worker or wait for
// another attempt.
func (m *Monitor) Outstanding() float64 { return float64(m.snapshot().outstanding) }

// Paused is 1 while the consumer is paused on the server.
func (m *Monitor) Paused() float64 {
	if m.snapshot().pausedFor > 0 {
		return 1
	}
	return 0
}
