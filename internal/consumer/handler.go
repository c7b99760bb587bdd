package consumer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Why a job is requeued.
var (
	errStopping = errors.New("worker is stopping")
	errHeldHere = errors.New("the job is being handled by this worker already")
)

func (c *Consumer) newTask(d domain.Delivery) *task {
	t := &task{Delivery: d, c: c, origin: d.Origin(), stopping: context.Background(), permit: &permit{c: c, toPacer: func() {}}}
	t.log = c.Logger.With("stream_seq", t.origin.Seq)
	return t
}

// Handle takes one delivered job through the stages. It returns when the job is disposed of, or left to its
// lease because that failed. work ends only when the worker is forced to leave, stopping when it begins to
// stop. returnPermit is called if no call to Aliyun is made.
func (c *Consumer) Handle(work, stopping context.Context, d domain.Delivery, returnPermit func()) {
	t := c.newTask(d)
	t.stopping, t.permit.toPacer = stopping, returnPermit
	defer t.permit.end(work)
	c.Metrics.InFlight(1)
	defer c.Metrics.InFlight(-1)
	c.conclude(work, t)
}

// Undeliverable ends a job that the server no longer delivers: as a dead letter poison, unless its request has
// ended already. Ack and Term of d take the job out of the stream; after Nak it is brought here again.
func (c *Consumer) Undeliverable(ctx context.Context, d domain.Delivery, why domain.Undeliverable) {
	t := c.newTask(d)
	t.why = &why
	c.conclude(ctx, t)
}

// Lost tells an operator of a job that is gone from the stream. Nothing but its place there is known.
func (c *Consumer) Lost(ctx context.Context, gone domain.Delivery, why domain.Undeliverable) error {
	t := c.newTask(gone)
	t.why = &why
	return (executor{t}).carryOut(ctx, decision{
		letter: passcode.ReasonPoison,
		record: passcode.Result{Worker: c.Worker, Error: undeliverableError(why)}.In(passcode.StatusDeadLettered),
		next:   stageDecode, // it has no message to dispose of
		level:  slog.LevelError, note: "a job was lost from the stream; its dead letter has no body",
	})
}

// conclude takes a job from its arrival to its end, or requeues it.
func (c *Consumer) conclude(ctx context.Context, t *task) {
	release, ok := c.hold(t.Delivery)
	if !ok {
		t.follow(ctx, failed{errHeldHere})
		return
	}
	defer release()
	defer func() {
		if t.alone {
			c.alone.Unlock()
		}
	}()
	defer t.recoverPanic(ctx)
	t.follow(ctx, t.advance(ctx, decision{next: stageDecode}))
}

// follow takes a job from what happened to it to its end.
func (t *task) follow(ctx context.Context, e event) {
	for {
		d := t.c.Policy.decide(t.rec, e, t.c.Now())
		if d.alone && !t.alone {
			if t.alone = t.c.alone.TryLock(); !t.alone {
				e = barred{requeueDelay / 2}
				continue
			}
		}
		err := executor{t}.carryOut(ctx, d)
		_, requeued := e.(failed)
		switch {
		case err != nil && requeued:
			t.log.Warn("job could not be requeued; it comes again when its lease runs out", "error", err)
			return
		case errors.Is(err, errMovedOn):
			return
		case err != nil:
			e = failed{err}
		case d.next == stageEnd:
			return
		default:
			e = t.advance(ctx, d)
		}
	}
}

// advance takes a job through the stages until something happens.
func (t *task) advance(ctx context.Context, d decision) event {
	for at := d.next; ; at++ {
		e, err := stages[at](t, ctx, d)
		if err != nil {
			return failed{err}
		}
		if _, ok := e.(passed); !ok {
			return e
		}
	}
}

// recoverPanic keeps a job that makes our code panic from taking down the others. Before its claim it would
// panic for ever, with no record to count that in, so it is dead-lettered at once. After the claim it is requeued.
func (t *task) recoverPanic(ctx context.Context) {
	p := recover()
	if p == nil {
		return
	}
	// The panic's value may quote the job, so only its type is logged.
	t.log.Error("panic while handling a job", "panic_type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
	t.follow(ctx, panicked{claimed: t.revision > 0})
}

// permit is the permission to make one call to Aliyun: from the pacer, and from the two breakers.
type permit struct {
	c            *Consumer
	toPacer      func() // returns a permit that wasn't used
	used         bool
	probes       string // the request, if it is the outage breaker's probe
	accountProbe bool   // the account breaker waits to be told of the call
}

// release returns the permit to the pacer, if no call has used it.
func (p *permit) release() {
	if !p.used {
		p.toPacer()
		p.used = true
	}
}

// observe tells the account breaker what a call said about the account. If that is closed, until is when the
// next call may be made.
func (p *permit) observe(ctx context.Context, out domain.Outcome) (until time.Time) {
	var err error
	switch {
	case out.Class == passcode.ClassAccount:
		until, err = p.c.Account.Trip(ctx, out.Code, out.Message)
	case showsAccountWorks(out):
		err = p.c.Account.Passed(ctx)
	default:
		return until
	}
	p.accountProbe = false
	if err != nil {
		_ = p.c.ended("gate", nothing, err)
		p.c.Logger.Warn("account breaker not updated", "error", err)
	}
	return until
}

// end returns what was not used.
func (p *permit) end(ctx context.Context) {
	if p.probes != "" && !p.used {
		p.c.Outage.NotCalled(p.probes)
	}
	p.release()
	if !p.accountProbe {
		return
	}
	if err := p.c.Account.Inconclusive(ctx); err != nil {
		p.c.Logger.Warn("probe not returned to the account breaker; another follows when it times out", "error", err)
	}
}
