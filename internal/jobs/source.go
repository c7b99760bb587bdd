// Package jobs is the worker's side of the jobs stream: it pulls jobs from the durable consumer that all
// replicas share, publishes jobs, and announces results that the server doesn't announce by itself.
package jobs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/internal/telemetry/once"
	"github.com/passcode-worker/passcode-worker/passcode"
)

const (
	// pullExpiry is how long one request stands at the server. It is short, because a request made before a pause of
	// the consumer isn't served after it.
	pullExpiry = 5 * time.Second
	// pullHeartbeat is how often the server says that a request still stands. After two missing ones the requests may
	// be gone, with the consumer's leader, and are made again.
	pullHeartbeat = time.Second
)

// ResumedWithin is how soon jobs flow again after a pause of the consumer.
const ResumedWithin = pullExpiry

// SourceOptions are what a Source needs.
type SourceOptions struct {
	Stream   string
	Consumer string
	// Prefetch is how many jobs may wait in this process. They are leased, so it must be far less than what is
	// handled within the lease.
	Prefetch int
	// Repair creates stream and consumer where they are missing.
	Repair func(context.Context) error
	Logger *slog.Logger
}

// Source pulls jobs for one worker. It survives the loss of the broker and of
// the consumer itself: Next goes on when they are back.
type Source struct {
	js      jetstream.JetStream
	opts    SourceOptions
	drained context.Context // ends with Drain
	drain   context.CancelCauseFunc
	changed chan struct{} // wakes Next: a job arrived, or a pull has something to tell
	inboxes atomic.Int32  // in which something may still arrive
	acks    acks
	created atomic.Pointer[time.Time] // of the stream that is there now; nil: not known, see delivery.say

	mu      sync.Mutex
	pull    *pull // nil while not pulling
	retired []*pull
	opened  time.Time
	arrived []*delivery // that wait to be taken
	failing error       // why no pull could be begun; nil once one is
	silent  bool        // a pull ended in silence, and nothing was heard since
}

// NewSource returns a source. It connects to nothing yet.
func NewSource(js jetstream.JetStream, opts SourceOptions) *Source {
	s := &Source{js: js, opts: opts, changed: make(chan struct{}, 1)}
	s.drained, s.drain = context.WithCancelCause(context.Background())
	return s
}

// Next waits for a job. It returns [domain.ErrDrained] once the source was drained and is empty, and ctx's cause
// when ctx ends first. It is for one caller at a time.
func (s *Source) Next(ctx context.Context) (domain.Delivery, error) {
	for {
		if job := s.take(); job != nil {
			return job, job.locate()
		}
		wait := s.awaitJob
		if s.drained.Err() != nil {
			wait = s.awaitRest
		}
		if err := wait(ctx); err != nil {
			return nil, err
		}
	}
}

// take returns the job that has waited longest, and asks for more if there is room. Nothing is asked for between two
// calls, because no handler is free then.
func (s *Source) take() (job *delivery) {
	s.mu.Lock()
	if len(s.arrived) > 0 {
		job, s.arrived = s.arrived[0], s.arrived[1:]
	}
	pull, batch := s.pull, 0
	if pull != nil {
		batch = pull.demand()
	}
	s.mu.Unlock()
	if batch > 0 {
		pull.ask(batch)
	}
	return job
}

func (s *Source) wake() {
	select {
	case s.changed <- struct{}{}:
	default: // it is awake already
	}
}

// awaitJob waits until there may be a job, or the pull needs care.
func (s *Source) awaitJob(ctx context.Context) error {
	s.mu.Lock()
	pull := s.pull
	if pull == nil {
		s.mu.Unlock()
		return s.begin(ctx)
	}
	silentIn, ended := time.Until(pull.heard.Add(2*pullHeartbeat)), pull.ended
	s.mu.Unlock()
	if ended == nil && silentIn <= 0 {
		ended = errSilent
		if !s.js.Conn().IsConnected() { // that is no silence: the pull ends once the connection is back
			silentIn, ended = pullHeartbeat, nil
		}
	}
	if ended != nil {
		s.giveUp(ended)
		return nil
	}
	timer := time.NewTimer(silentIn)
	defer timer.Stop()
	select {
	case <-s.changed:
	case <-timer.C:
	case <-pull.reconnected:
		pull.end(errors.New("the connection was lost"))
	case <-s.drained.Done():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// awaitRest waits for what still arrives after Drain.
func (s *Source) awaitRest(ctx context.Context) error {
	s.mu.Lock()
	done := len(s.arrived) == 0 && (s.inboxes.Load() == 0 || s.js.Conn().IsClosed())
	s.mu.Unlock()
	if done {
		return domain.ErrDrained
	}
	select {
	case <-s.changed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Drain stops pulling. Jobs that have arrived still come out of Next.
func (s *Source) Drain() {
	s.drain(domain.ErrDrained)
	s.acks.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retire()
	s.closeRetired(0)
}

// retire puts the pull aside. Its inbox stays open, because its requests may still stand at the server, and the
// client does not tell a server that it is reconnecting to that an inbox was closed. The caller holds the lock.
func (s *Source) retire() {
	if s.pull == nil {
		return
	}
	s.js.Conn().RemoveStatusListener(s.pull.reconnected)
	s.retired, s.pull = append(s.retired, s.pull), nil
}

// closeRetired closes the inboxes of the pulls that were last heard so long ago. The caller holds the lock.
func (s *Source) closeRetired(after time.Duration) {
	s.retired = slices.DeleteFunc(s.retired, func(p *pull) bool {
		if time.Since(p.heard) < after {
			return false
		}
		_ = p.inbox.Drain() // fails where it is closed already
		return true
	})
}

// Trouble says why no jobs come, empty where they may.
func (s *Source) Trouble() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.failing != nil:
		return fmt.Sprintf("jobs can't be pulled: %v", s.failing)
	case s.silent:
		return "no answer while jobs are waited for"
	default:
		return ""
	}
}

// begin begins a pull, trying until it succeeds, ctx ends or the source is drained.
func (s *Source) begin(ctx context.Context) error {
	waiting, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	unlink := context.AfterFunc(s.drained, func() { cancel(domain.ErrDrained) })
	defer unlink()
	select { // pulls that end as soon as they begin don't keep the broker busy
	case <-time.After(time.Until(s.opened.Add(retry.Pull.First))):
	case <-waiting.Done():
	}

	var told once.States // an error that lasts is met every second
	trying := retry.Pull.Context(retry.Observe(waiting, func(err error) {
		if told.Changed("pull", err.Error()) {
			s.opts.Logger.Warn("jobs can't be pulled; trying again", "error", err)
		}
		s.mu.Lock()
		s.failing = err
		s.mu.Unlock()
		if !errors.Is(err, jetstream.ErrConsumerNotFound) && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return
		}
		s.created.Store(nil)
		if err := s.opts.Repair(waiting); err != nil && told.Changed("repair", err.Error()) {
			s.opts.Logger.Warn("stream or consumer not repaired", "error", err)
		}
	}))
	p, err := retry.Value(trying, s.open)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case s.drained.Err() != nil:
		return nil // Next sees to the rest
	default:
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pull, s.opened, s.failing = p, time.Now(), nil
	after := pullExpiry         // no request of theirs stands any more
	if s.drained.Err() != nil { // between opening it and now
		s.retire()
		after = 0
	}
	s.closeRetired(after)
	return nil
}

func (s *Source) open(ctx context.Context) (*pull, error) {
	if _, err := s.js.Consumer(ctx, s.opts.Stream, s.opts.Consumer); err != nil {
		return nil, fmt.Errorf("open consumer %s of stream %s: %w", s.opts.Consumer, s.opts.Stream, err)
	}
	stream, err := s.js.Stream(ctx, s.opts.Stream)
	if err != nil {
		return nil, fmt.Errorf("open stream %s: %w", s.opts.Stream, err)
	}
	created := stream.CachedInfo().Created
	s.created.Store(&created)
	p, err := newPull(s, created)
	if err != nil {
		return nil, fmt.Errorf("pull from consumer %s: %w", s.opts.Consumer, err)
	}
	return p, nil
}

// giveUp ends a pull, after which Next begins another.
func (s *Source) giveUp(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retire()
	switch {
	case errors.Is(why, errSilent):
		if !s.silent { // one that lasts is told once
			s.opts.Logger.Warn("the broker is silent while jobs are waited for; asking again", "error", why)
		}
		s.silent = true
	case errors.Is(why, errDeleted):
		s.created.Store(nil)
		s.opts.Logger.Warn("pulling jobs failed; opening the consumer again", "error", why)
	default:
		s.opts.Logger.Info("pulling jobs goes on", "after", why)
	}
}

// Waits reports whether the job of that sequence is in the stream, and is one of the request: a recreated stream has
// other jobs in the same places. Any replica may answer, and may be a moment behind.
func (s *Source) Waits(ctx context.Context, seq uint64, requestID string) (bool, error) {
	msg, err := readJob(ctx, s.js, s.opts.Stream, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for job %d in stream %s: %w", seq, s.opts.Stream, err)
	}
	job, _ := passcode.Decode(msg.Data) // what can be read of it
	return job.RequestID == requestID, nil
}
