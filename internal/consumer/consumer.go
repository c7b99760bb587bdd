// Package consumer takes passcode jobs from the stream and brings each to its one outcome.
//
// A job goes through stages (stages.go). What happens there is an event (event.go). One pure function decides
// what becomes of the job (decide.go), and the decision is carried out in one fixed order (execute.go).
//
// A record in the ledger says how far a request has come, so that any worker can go on with it. The claim is
// written before the send and settled after it. If a worker dies in between, the record says sending, and the
// job's next delivery asks Aliyun instead of sending blindly.
package consumer

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Options are what a Consumer needs.
type Options struct {
	Source  Source
	Ledger  Ledger
	Limiter Limiter
	Sender  Sender
	Account AccountBreaker
	Outage  OutageBreaker
	Metrics Metrics
	Logger  *slog.Logger
	Policy  Policy

	// Waits reports whether the job of that sequence is in the stream and is one of the request.
	Waits func(ctx context.Context, seq uint64, requestID string) (bool, error)
	// ParsePhone returns the canonical E.164 number of what a producer wrote, or an *passcode.InvalidError.
	ParsePhone func(passcode.Phone) (passcode.Phone, error)
	// Announce publishes a result that the server doesn't: on a job's own reply subject, or once more.
	Announce func(subject string, result passcode.Result) error
	// WriteDeadLetter stores a job that an operator must look at; once, however often it is called.
	WriteDeadLetter func(context.Context, domain.DeadLetter) error

	Worker          string                    // identifies this process in records
	ResultSubject   string                    // below which results are announced
	MayReplyTo      func(subject string) bool // results.reply_subjects covers it
	Concurrency     int                       // how many jobs are handled at a time
	AckWait         time.Duration             // the lease of a delivered job
	CallFence       time.Duration             // how long after its claim an attempt may still be begun
	ShutdownTimeout time.Duration             // how long jobs in flight may take to finish
	Now             func() time.Time          // the clock, in UTC
}

// Consumer handles jobs. Create it with New and run it with Run.
type Consumer struct {
	Options
	effects  []Effect
	leases   leases
	standing standing
	// alone is held for the suspect whose call is in progress; see suspect.
	alone sync.Mutex
}

// New returns a Consumer that carries decisions out in the order of the effects: EffectsInOrder.
func New(o Options, effects []Effect) *Consumer {
	return &Consumer{
		Options: o, effects: effects,
		leases: leases{held: map[uint64]*lease{}}, standing: standing{of: map[string]failing{}},
	}
}

// ErrForced means that the worker left with jobs still in flight. They come again when their leases run out.
var ErrForced = errors.New("left with jobs still in flight")

// Run handles jobs until ctx ends. Then it asks for no more jobs, finishes those in flight and requeues the rest.
// It returns nil when that is done, ErrForced if the shutdown timeout or force ended it before.
func (c *Consumer) Run(ctx, force context.Context) error {
	// Handlers outlive ctx: what has begun is finished.
	work, leave := context.WithCancelCause(context.WithoutCancel(ctx))
	var keeper sync.WaitGroup
	keeper.Go(func() { c.renewLeases(work) })
	defer keeper.Wait()
	defer leave(nil)

	done := make(chan error, 1)
	go func() { done <- c.dispatch(work, ctx) }()
	select {
	case err := <-done: // the source ended by itself
		return err
	case <-ctx.Done():
	}
	c.Logger.Info("stopping: finishing the jobs in flight", "at_most", c.ShutdownTimeout)
	c.Source.Drain()

	forced, cancel := context.WithTimeout(force, c.ShutdownTimeout)
	defer cancel()
	select {
	case err := <-done:
		return err
	case <-forced.Done():
	}
	leave(ErrForced)
	// Every wait of a handler ends with work, so this is short.
	<-done
	return ErrForced
}

// dispatch takes jobs from the source until it is drained and every handler has returned.
func (c *Consumer) dispatch(work, stopping context.Context) error {
	var handlers sync.WaitGroup
	defer handlers.Wait()
	slots := make(chan struct{}, c.Concurrency)
	for {
		// A slot and a permit first: if the pace is low, jobs wait in the stream, not here. Once the worker
		// stops neither is needed, because jobs are only requeued.
		select {
		case slots <- struct{}{}:
		case <-stopping.Done():
		}
		returnPermit, err := c.Sender.Pace(stopping)
		if err != nil {
			returnPermit = func() {} // stopping, the only reason there is
		}
		d, err := c.Source.Next(work)
		if err != nil {
			returnPermit()
			if errors.Is(err, domain.ErrDrained) {
				return nil
			}
			return err
		}
		if stopping.Err() != nil {
			c.newTask(d).follow(work, failed{errStopping})
			continue
		}
		handlers.Go(func() {
			defer func() { <-slots }()
			c.Handle(work, stopping, d, returnPermit)
		})
	}
}
