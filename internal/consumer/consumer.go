// Package consumer takes passcode jobs from the stream and sees each through to
// its one outcome: decode, admit, claim, reserve, send, settle.
//
// What becomes of a job is decided by pure functions (settle.go) and carried out
// in one fixed order (apply.go). No state lives in the worker: a record in the
// ledger says how far a request has come, so that any worker can go on with a
// job that another left behind. The claim is written before the send and settled
// after it; a worker that dies in between leaves a record that says sending, and
// the job's next delivery asks Aliyun instead of sending blindly.
package consumer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// Options are what a Consumer needs.
type Options struct {
	Source      Source
	Jobs        Jobs
	Ledger      Ledger
	Limiter     Limiter
	Sender      Sender
	DeadLetters DeadLetters
	Gate        Gate
	Breaker     Breaker // nil: calls are made whatever became of those before
	Numbers     Numbers
	Announcer   Announcer
	Metrics     Metrics
	Logger      *slog.Logger
	Policy      Policy

	// Worker identifies this process in records.
	Worker string
	// ResultSubject is the subject below which results are announced.
	ResultSubject string
	// ReplySubjects are the patterns that a job's reply_to must match.
	ReplySubjects []string
	// Concurrency is how many jobs are handled at a time.
	Concurrency int
	// AckWait is the lease of a delivered job; it is renewed meanwhile.
	AckWait time.Duration
	// CallFence is how long after its claim an attempt may still be begun.
	CallFence time.Duration
	// ShutdownTimeout bounds how long jobs in flight may take to finish.
	ShutdownTimeout time.Duration
	// Now is the clock; the system's, in UTC, where nil.
	Now func() time.Time
}

// Consumer handles jobs. Create it with New and run it with Run.
type Consumer struct {
	source        Source
	jobs          Jobs
	ledger        Ledger
	limiter       Limiter
	sender        Sender
	deadLetters   DeadLetters
	gate          Gate
	breaker       Breaker
	numbers       Numbers
	announcer     Announcer
	metrics       Metrics
	log           *slog.Logger
	policy        Policy
	worker        string
	resultSubject string
	replySubjects []string
	concurrency   int
	callFence     time.Duration
	shutdown      time.Duration
	leases        *leases
	now           func() time.Time
	standing      *standing
	// alone is held by the suspect whose call is under way; see suspect.
	alone sync.Mutex
	// effects are effectsInOrder, but in a test that swaps them.
	effects []effect
	// newTimer makes the timer between two tries at the broker, nil: the system's.
	newTimer func() backoff.Timer
}

// New returns a Consumer.
func New(o Options) *Consumer {
	now := o.Now
	if now == nil {
		now = func() time.Time { return time.Now().UTC() }
	}
	breaker := o.Breaker
	if breaker == nil {
		breaker = noBreaker{}
	}
	return &Consumer{
		source:        o.Source,
		jobs:          o.Jobs,
		ledger:        o.Ledger,
		limiter:       o.Limiter,
		sender:        o.Sender,
		deadLetters:   o.DeadLetters,
		gate:          o.Gate,
		breaker:       breaker,
		numbers:       o.Numbers,
		announcer:     o.Announcer,
		metrics:       o.Metrics,
		log:           o.Logger,
		policy:        o.Policy,
		worker:        o.Worker,
		resultSubject: o.ResultSubject,
		replySubjects: o.ReplySubjects,
		concurrency:   o.Concurrency,
		callFence:     o.CallFence,
		shutdown:      o.ShutdownTimeout,
		leases:        newLeases(o.AckWait, now, o.Logger),
		standing:      &standing{now: now, of: map[string]failure{}},
		now:           now,
		effects:       effectsInOrder,
	}
}

// ErrForced means that the worker left with jobs still in flight. They come
// again when their leases run out, and none is lost.
var ErrForced = errors.New("left with jobs still in flight")

// Run handles jobs until ctx ends, then stops: it asks for no more jobs,
// finishes those in flight and hands back the rest at once. It returns nil when
// every job was finished or handed back, ErrForced when the shutdown timeout, or
// force, ended it before that.
func (c *Consumer) Run(ctx, force context.Context) error {
	// Handlers outlive ctx: what has begun is finished.
	work, abandon := context.WithCancelCause(context.WithoutCancel(ctx))
	defer abandon(nil)

	var keeper sync.WaitGroup
	keeper.Go(func() { c.leases.run(work) })
	defer keeper.Wait()
	defer abandon(nil)

	done := make(chan error, 1)
	go func() { done <- c.dispatch(work, ctx) }()

	select {
	case err := <-done: // the source ended by itself
		return err
	case <-ctx.Done():
	}
	c.log.Info("stopping: finishing the jobs in flight", "at_most", c.shutdown)
	c.source.Drain()

	timer := time.NewTimer(c.shutdown)
	defer timer.Stop()
	select {
	case err := <-done:
		return err
	case <-timer.C:
		abandon(ErrForced)
	case <-force.Done():
		abandon(ErrForced)
	}
	// Every wait of a handler ends with work, so this is short.
	<-done
	return ErrForced
}

// dispatch takes jobs from the source, as many at a time as there are slots,
// and returns when the source is drained and every handler has returned.
func (c *Consumer) dispatch(work, stopping context.Context) error {
	var handlers sync.WaitGroup
	defer handlers.Wait()
	slots := make(chan struct{}, c.concurrency)
	for {
		// A slot and a turn first, so that a job taken from the source is handled
		// at once, and waits in the stream, not here, where the pace is low. Once
		// the worker stops neither is needed: jobs only go back.
		select {
		case slots <- struct{}{}:
		case <-stopping.Done():
		}
		giveBack, err := c.sender.Pace(stopping)
		if err != nil {
			giveBack = func() {} // stopping, the only reason there is
		}
		d, err := c.source.Next(work)
		if err != nil {
			giveBack()
			if errors.Is(err, domain.ErrDrained) {
				return nil
			}
			return err
		}
		if stopping.Err() != nil {
			c.handBackUntouched(d)
			continue
		}
		handlers.Go(func() {
			defer func() { <-slots }()
			c.handle(work, stopping, d, giveBack)
		})
	}
}

// handBackUntouched returns a job that came while the worker was stopping.
func (c *Consumer) handBackUntouched(d domain.Delivery) {
	c.metrics.Delivery("handed_back")
	if err := d.Nak(0); err != nil {
		c.log.Warn("job could not be handed back; it comes again when its lease runs out",
			"stream_seq", d.Origin().Seq, "error", err)
	}
}
