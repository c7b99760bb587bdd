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
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// pullExpiry is how long one pull request stands at the server. After a pause of
// the consumer is lifted, a pull that was outstanding is served only when it is
// renewed, so a short one makes jobs flow again sooner.
const pullExpiry = 5 * time.Second

// nudge is how long the first wait for a message may take; see next.
const nudge = 20 * time.Millisecond

// openTimeout bounds one look-up of the consumer.
const openTimeout = 5 * time.Second

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

	mu       sync.Mutex
	messages jetstream.MessagesContext // nil while not pulling
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
		messages, err := s.pulling(ctx)
		if err != nil {
			return nil, err
		}
		msg, err := next(ctx, messages)
		switch {
		case err == nil:
			return newDelivery(msg)
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, jetstream.ErrMsgIteratorClosed) && s.isDrained():
			return nil, domain.ErrDrained
		case errors.Is(err, jetstream.ErrNoHeartbeat):
			// The iterator asks again by itself.
			s.opts.Logger.Warn("no heartbeat from the broker while waiting for jobs")
		default:
			s.opts.Logger.Warn("pulling jobs failed; opening the consumer again", "error", err)
			s.close(messages)
		}
	}
}

// next waits for a message, first for a moment and then for as long as it takes.
//
// The iterator asks the server for more only when Next is called, and not while
// its last request is still being written. On a busy machine all that was asked
// for can be taken before that write returns; a Next that waits then has asked
// for nothing, until a missing heartbeat wakes it after five seconds. So it is
// called anew after a moment, which asks.
func next(ctx context.Context, messages jetstream.MessagesContext) (jetstream.Msg, error) {
	msg, err := messages.Next(jetstream.NextMaxWait(nudge))
	if errors.Is(err, nats.ErrTimeout) {
		return messages.Next(jetstream.NextContext(ctx))
	}
	return msg, err
}

// Drain stops pulling. Jobs that have arrived still come out of Next.
func (s *Source) Drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isDrained() {
		return
	}
	close(s.drained)
	if s.messages != nil {
		s.messages.Drain()
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

// pulling returns the running iterator, or opens one, trying until it succeeds.
func (s *Source) pulling(ctx context.Context) (jetstream.MessagesContext, error) {
	s.mu.Lock()
	messages := s.messages
	s.mu.Unlock()
	if messages != nil {
		return messages, nil
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
		backoff.WithMaxInterval(5*time.Second),
		backoff.WithMaxElapsedTime(0), // ctx and Drain bound it
	)
	err := backoff.RetryNotify(
		func() error {
			var err error
			messages, err = s.open(waiting)
			return err
		},
		backoff.WithContext(b, waiting),
		func(err error, wait time.Duration) {
			s.opts.Logger.Warn("jobs can't be pulled; trying again", "error", err, "wait", wait)
			if err := s.repair(waiting); err != nil {
				s.opts.Logger.Warn("stream or consumer not repaired", "error", err)
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
	s.messages = messages
	if s.isDrained() { // between opening it and now
		messages.Drain()
	}
	return messages, nil
}

func (s *Source) open(ctx context.Context) (jetstream.MessagesContext, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, openTimeout,
		fmt.Errorf("no answer from the broker within %s", openTimeout))
	defer cancel()
	consumer, err := s.js.Consumer(ctx, s.opts.Stream, s.opts.Consumer)
	if err != nil {
		return nil, fmt.Errorf("open consumer %s of stream %s: %w", s.opts.Consumer, s.opts.Stream, err)
	}
	messages, err := consumer.Messages(
		jetstream.PullMaxMessages(s.opts.Prefetch),
		jetstream.PullExpiry(pullExpiry),
	)
	if err != nil {
		return nil, fmt.Errorf("pull from consumer %s: %w", s.opts.Consumer, err)
	}
	return messages, nil
}

func (s *Source) repair(ctx context.Context) error {
	if s.opts.Repair == nil {
		return nil
	}
	return s.opts.Repair(ctx)
}

func (s *Source) close(messages jetstream.MessagesContext) {
	s.mu.Lock()
	defer s.mu.Unlock()
	messages.Stop()
	if s.messages == messages {
		s.messages = nil
	}
}

// delivery is one message of the jobs stream.
type delivery struct {
	msg    jetstream.Msg
	header nats.Header
	origin domain.Origin
}

func newDelivery(msg jetstream.Msg) (domain.Delivery, error) {
	meta, err := msg.Metadata()
	if err != nil {
		return nil, fmt.Errorf("a message without JetStream metadata: %w", err)
	}
	return &delivery{
		msg:    msg,
		header: msg.Headers(),
		origin: domain.Origin{
			Stream:   meta.Stream,
			Seq:      meta.Sequence.Stream,
			Subject:  msg.Subject(),
			QueuedAt: meta.Timestamp,
		},
	}, nil
}

func (d *delivery) Body() []byte          { return d.msg.Data() }
func (d *delivery) Origin() domain.Origin { return d.origin }
func (d *delivery) Ack() error            { return d.msg.Ack() }
func (d *delivery) Extend() error         { return d.msg.InProgress() }

func (d *delivery) Header(name string) string { return d.header.Get(name) }

func (d *delivery) Nak(delay time.Duration) error {
	if delay <= 0 {
		return d.msg.Nak()
	}
	return d.msg.NakWithDelay(delay)
}

func (d *delivery) Term(reason string) error { return d.msg.TermWithReason(reason) }
