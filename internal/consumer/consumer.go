// Package consumer takes passcode jobs from the stream and brings each to its one outcome.
//
// A job goes through stages (stages.go). What happens there is an event. One pure function decides what becomes of
// the job (decide.go), and the decision is carried out in one fixed order (execute.go). A record in the ledger says
// how far a request has come, so that any worker can go on with it.
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

// Source delivers jobs.
type Source interface {
	// Next waits for a job; domain.ErrDrained: the source was drained, and is empty.
	Next(ctx context.Context) (domain.Delivery, error)
	// Drain stops asking for jobs. Next still returns those that have arrived.
	Drain()
}

// Ledger keeps one record for each request.
type Ledger interface {
	// Claim stores first unless the request is already known; see domain.Claim.
	Claim(ctx context.Context, first passcode.Result) (domain.Claim, error)
	// Update replaces the record of that revision; domain.ErrConflict: somebody else has changed it.
	Update(ctx context.Context, rec passcode.Result, revision uint64) (uint64, error)
	// Since is from when on no record is missing. Earlier ones may have been deleted, or have expired.
	Since(ctx context.Context) (time.Time, error)
	// Get returns the record and its revision, or domain.ErrNotFound.
	Get(ctx context.Context, requestID string) (passcode.Result, uint64, error)
}

// Limiter holds the limits of each phone, shared by all replicas.
type Limiter interface {
	// Reserve makes a reservation for the request, one however often it is called. The record's revision, which
	// grows with each attempt, is a fencing token. known: ReserveAhead found something.
	Reserve(ctx context.Context, phone passcode.Phone, requestID string, revision uint64, known bool) (domain.Reservation, error)
	// ReserveAhead begins a reservation of revision 0, which is made only if nothing is known of the phone.
	ReserveAhead(ctx context.Context, phone passcode.Phone, requestID string) (wait func() (made, known bool))
	// Release gives the request's reservation up, unless a later attempt holds it.
	Release(ctx context.Context, phone passcode.Phone, requestID string, revision uint64) error
	CloseFor(ctx context.Context, phone passcode.Phone, d time.Duration) error
}

// Sender calls Aliyun.
type Sender interface {
	// Pace waits until a call may be made. returnPermit is for one that isn't used.
	Pace(ctx context.Context) (returnPermit func(), err error)
	// Send makes one call. Nothing is written to the network after notAfter.
	Send(ctx context.Context, msg domain.Message, notAfter time.Time) domain.Outcome
	// Lookup asks what became of the request's sends, none of which was made before since.
	Lookup(ctx context.Context, phone passcode.Phone, requestID string, since time.Time) (domain.Finding, error)
}

// AccountBreaker stops all replicas while nothing can be sent for the account.
type AccountBreaker interface {
	Admit(ctx context.Context) (domain.Admission, error)               // the first call after a pause is a probe
	Trip(ctx context.Context, code, message string) (time.Time, error) // stops the calls, until the time returned
	Passed(ctx context.Context) error                                  // the account works
	Inconclusive(ctx context.Context) error                            // a probe told nothing about the account
}

// OutageBreaker stops this worker's calls while Aliyun answers none of them.
type OutageBreaker interface {
	Admit(requestID string) domain.Admission            // may a call be made for the request, and is it a probe?
	Asked(requestID string, err error) domain.Admission // may a probe call, after a look-up that ended with err?
	NotCalled(requestID string)                         // a request that was admitted as probe made no call
}

// Metrics counts what happens. Its methods return at once.
type Metrics interface {
	Status(passcode.Status)                // a request came to it
	Attempt(passcode.Class, time.Duration) // how a call to Aliyun ended, and after what time
	Sent(sinceQueued time.Duration)        // Aliyun accepted a job
	InFlight(delta int)                    // so many more (or fewer) jobs are being handled
	Lookup(result string)                  // "accepted", "undelivered", "not_found" or "failed"
	Delivery(kind string)                  // one of deliveries, "invalid", "expired" or "handed_back"
	DeadLetter(passcode.Reason)
	Denied(rule string)        // by our own limit
	Undeliverable(code string) // "max_deliveries" or "terminated"
	Trouble(operation string)  // it failed, and is tried again
}

// Consumer handles jobs. Create it with New and run it with Run.
type Consumer struct {
	Options
	effects []Effect

	holding sync.Mutex
	held    map[uint64]*task // the jobs that are being handled, by stream sequence

	standing sync.Mutex
	failing  map[string]failing // by what has failed

	alone sync.Mutex // for the suspect whose call is in progress; see judge
}

// New returns a Consumer that carries decisions out in the order of the effects: EffectsInOrder.
func New(o Options, effects []Effect) *Consumer {
	return &Consumer{Options: o, effects: effects, held: map[uint64]*task{}, failing: map[string]failing{}}
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
	// Handlers stay: their stacks have grown to what a call takes.
	todo, started := make(chan func()), 0
	defer close(todo)
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
		next := func() {
			c.Handle(work, stopping, d, returnPermit)
			<-slots
		}
		if started == c.Concurrency {
			todo <- next // one of them has given its slot back
			continue
		}
		select {
		case todo <- next: // to one that is free, whose memory is warm
			continue
		default:
			started++
		}
		handlers.Go(func() {
			for run := next; run != nil; run = <-todo {
				run()
			}
		})
	}
}
