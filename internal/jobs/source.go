// Package jobs is the worker's side of the jobs stream: it pulls jobs from the
// durable consumer that all replicas share, publishes jobs, and announces
// results that the server doesn't announce by itself.
package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

const (
	// pullExpiry is how long one pull request stands at the server. After a pause
	// of the consumer is lifted, a pull that was outstanding is served only when it
	// is renewed, so a short one makes jobs flow again sooner.
	pullExpiry = 5 * time.Second
	// pullHeartbeat is how often the server says that a pull still stands. After
	// two that are missing it is asked anew: the consumer's leader may have gone,
	// and with it all pulls that it held.
	pullHeartbeat = time.Second
	// openTimeout bounds one look-up of the consumer, and lookTimeout one while
	// jobs may be coming in again.
	openTimeout = 5 * time.Second
	lookTimeout = time.Second
)

// ResumedWithin is how soon jobs flow again after a pause of the consumer.
const ResumedWithin = pullExpiry

// SourceOptions are what a Source needs.
type SourceOptions struct {
	Stream   string
	Consumer string
	// Prefetch is how many jobs may wait in this process for a free slot. They
	// are leased while they wait, so it must be far less than what is handled
	// within the lease.
	Prefetch int
	// Repair is called before the consumer is looked up again after a failure,
	// to create what is missing.
	Repair func(context.Context) error
	Logger *slog.Logger
}

// Source pulls jobs for one worker. It survives the loss of the broker and of
// the consumer itself: Next goes on when they are back.
type Source struct {
	js   jetstream.JetStream
	opts SourceOptions

	mu   sync.Mutex
	pull *pull // nil while not pulling
	// failing is why no pull could be begun; nil once one is.
	failing error
	// made is when the stream was made from which jobs come, and nil while that
	// isn't known: see delivery.gone.
	made atomic.Pointer[time.Time]
	// drained is closed by Drain.
	drained chan struct{}
}

// NewSource returns a source. It connects to nothing yet.
func NewSource(js jetstream.JetStream, opts SourceOptions) *Source {
	return &Source{js: js, opts: opts, drained: make(chan struct{})}
}

// Next waits for a job. It returns [domain.ErrDrained] once the source was
// drained and no buffered job is left, and ctx's cause when ctx ends first.
// It is for one caller at a time.
func (s *Source) Next(ctx context.Context) (domain.Delivery, error) {
	for {
		pull, err := s.pulling(ctx)
		if err != nil {
			return nil, err
		}
		select {
		case msg := <-pull.arrived:
			return newDelivery(msg, pull.made, s.made.Load)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-pull.doubt:
			if err := s.look(ctx); err != nil {
				s.giveUp(pull, err)
			}
		case <-pull.closed:
			if !s.isDrained() {
				s.giveUp(pull, pull.failure())
				continue
			}
			if msg, ok := pull.left(); ok {
				return newDelivery(msg, pull.made, s.made.Load)
			}
			return nil, domain.ErrDrained
		}
	}
}

// look asks for the consumer after its server has been silent. Only that it is
// gone is an error: while a cluster elects a leader nobody answers at all, and
// the pull goes on by itself when that is over.
func (s *Source) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	_, err := s.js.Consumer(ctx, s.opts.Stream, s.opts.Consumer)
	if isMissing(err) {
		return err
	}
	return nil
}

func isMissing(err error) bool {
	return errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound)
}

// Drain stops pulling. Jobs that have arrived still come out of Next.
func (s *Source) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isDrained() {
		return
	}
	close(s.drained)
	if s.pull != nil {
		s.pull.end()
	}
}

// Trouble says why no jobs come, empty where they may.
func (s *Source) Trouble() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.failing != nil:
		return fmt.Sprintf("jobs can't be pulled: %v", s.failing)
	case s.pull != nil && s.pull.silent.Load():
		return "no answer while jobs are waited for"
	default:
		return ""
	}
}

func (s *Source) isDrained() bool {
	select {
	case <-s.drained:
		return true
	default:
		return false
	}
}

// pulling returns the running pull, or begins one, trying until it succeeds.
func (s *Source) pulling(ctx context.Context) (*pull, error) {
	s.mu.Lock()
	pull := s.pull
	s.mu.Unlock()
	if pull != nil {
		return pull, nil
	}

	waiting, cancel := context.WithCancelCause(ctx)
	var watcher sync.WaitGroup
	defer watcher.Wait()
	defer cancel(nil)
	watcher.Go(func() {
		select {
		case <-s.drained:
			cancel(domain.ErrDrained)
		case <-waiting.Done():
		}
	})

	b := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(100*time.Millisecond),
		backoff.WithMaxInterval(time.Second),
		backoff.WithMaxElapsedTime(0), // ctx and Drain bound it
	)
	tell := newTeller(s.opts.Logger)
	err := backoff.RetryNotify(
		func() error {
			var err error
			pull, err = s.open(waiting)
			return err
		},
		backoff.WithContext(b, waiting),
		func(err error, _ time.Duration) {
			tell.warn("jobs can't be pulled; trying on", err)
			s.mu.Lock()
			s.failing = err
			s.mu.Unlock()
			if !isMissing(err) {
				return
			}
			if err := s.repair(waiting); err != nil {
				tell.warn("stream or consumer not repaired", err)
			}
		})
	if err != nil {
		if waiting.Err() != nil {
			return nil, context.Cause(waiting)
		}
		return nil, err
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	s.pull, s.failing = pull, nil
	if s.isDrained() { // between opening it and now
		pull.end()
	}
	return pull, nil
}

// teller logs an error each time that it is another than before: one that lasts is
// met every second.
type teller struct {
	log  *slog.Logger
	last map[string]string // by what failed
}

func newTeller(log *slog.Logger) teller { return teller{log, map[string]string{}} }

func (t teller) warn(what string, err error) {
	if t.last[what] != err.Error() {
		t.log.Warn(what, "error", err)
	}
	t.last[what] = err.Error()
}

func (s *Source) open(ctx context.Context) (*pull, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, openTimeout,
		fmt.Errorf("no answer from the broker within %s", openTimeout))
	defer cancel()
	consumer, err := s.js.Consumer(ctx, s.opts.Stream, s.opts.Consumer)
	if err != nil {
		return nil, fmt.Errorf("open consumer %s of stream %s: %w", s.opts.Consumer, s.opts.Stream, err)
	}
	stream, err := s.js.Stream(ctx, s.opts.Stream)
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", s.opts.Stream, err)
	}
	made := stream.CachedInfo().Created
	s.made.Store(&made)
	p, err := begin(consumer, s.opts.Prefetch, s.js.Conn().MaxPayload(), s.opts.Logger)
	if err != nil {
		return nil, fmt.Errorf("pull from consumer %s: %w", s.opts.Consumer, err)
	}
	p.made = made
	return p, nil
}

func (s *Source) repair(ctx context.Context) error {
	if s.opts.Repair == nil {
		return nil
	}
	return s.opts.Repair(ctx)
}

// giveUp ends a pull, after which Next begins another.
func (s *Source) giveUp(p *pull, why error) {
	s.made.Store(nil)
	s.opts.Logger.Warn("pulling jobs failed; opening the consumer again", "error", why)
	s.mu.Lock()
	defer s.mu.Unlock()
	p.end()
	if s.pull == p {
		s.pull = nil
	}
}
