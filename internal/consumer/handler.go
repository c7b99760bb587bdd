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
	return &task{Delivery: d, c: c, origin: d.Origin(), stopping: context.Background()}
}

// logger names the job in each line. It is made when a line is written.
func (t *task) logger() *slog.Logger {
	log := t.c.Logger.With("stream_seq", t.origin.Seq)
	if t.job.RequestID != "" {
		log = log.With("request_id", t.job.RequestID)
	}
	if trace := traceID(t.Header("traceparent")); trace != "" {
		log = log.With("trace_id", trace)
	}
	return log
}

// Handle takes one delivered job through the stages. It returns when the job is disposed of, or left to its
// lease because that failed. work ends only when the worker is forced to leave, stopping when it begins to
// stop. returnPermit is called if no call to Aliyun is made.
func (c *Consumer) Handle(work, stopping context.Context, d domain.Delivery, returnPermit func()) {
	t := c.newTask(d)
	t.stopping, t.permit = stopping, returnPermit
	defer t.end(work)
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
	if !c.hold(t) {
		t.follow(ctx, failed{errHeldHere})
		return
	}
	defer func() {
		c.letGo(t)
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
				e = delayed{requeueDelay / 2}
				continue
			}
		}
		err := executor{t}.carryOut(ctx, d)
		_, requeued := e.(failed)
		switch {
		case err != nil && requeued:
			t.logger().Warn("job could not be requeued; it comes again when its lease runs out", "error", err)
			return
		case errors.Is(err, errMovedOn), err == nil && d.next == stageEnd:
			return
		case err != nil:
			e = failed{err}
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
	t.logger().Error("panic while handling a job", "panic_type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
	t.follow(ctx, panicked{claimed: t.revision > 0})
}

// returnPermit returns the permit to the pacer, if no call has used it.
func (t *task) returnPermit() {
	if t.permit != nil {
		t.permit()
		t.permit = nil
	}
}

// observe tells the account breaker what a call said about the account. If that is closed, until is when the
// next call may be made.
func (t *task) observe(ctx context.Context, out domain.Outcome) (until time.Time) {
	var err error
	switch {
	case out.Class == passcode.ClassAccount:
		until, err = t.c.Account.Trip(ctx, out.Code, out.Message)
	case showsAccountWorks(out):
		err = t.c.Account.Passed(ctx)
	default:
		return until
	}
	t.accountProbe = false
	if err != nil {
		_ = t.c.ended("gate", nothing, err)
		t.c.Logger.Warn("account breaker not updated", "error", err)
	}
	return until
}

// end returns what was not used.
func (t *task) end(ctx context.Context) {
	t.returnPermit()
	if t.probe {
		t.c.Outage.NotCalled(t.rec.RequestID)
	}
	if !t.accountProbe {
		return
	}
	if err := t.c.Account.Inconclusive(ctx); err != nil {
		t.c.Logger.Warn("probe not returned to the account breaker; another follows when it times out", "error", err)
	}
}

// hold keeps a job's lease alive until letGo. It returns false if this worker is handling the job already: its
// lease may have run out because the broker could not be reached.
func (c *Consumer) hold(t *task) bool {
	c.holding.Lock()
	defer c.holding.Unlock()
	if _, ok := c.held[t.origin.Seq]; ok {
		return false
	}
	t.renewed = c.Now()
	c.held[t.origin.Seq] = t
	return true
}

func (c *Consumer) letGo(t *task) {
	c.holding.Lock()
	defer c.holding.Unlock()
	delete(c.held, t.origin.Seq)
}

// renewLeases renews the lease of every job that is being handled, until ctx ends. Otherwise the server would deliver
// it to another worker during a slow call.
func (c *Consumer) renewLeases(ctx context.Context) {
	interval := c.AckWait / 3 // one renewal may get lost
	// Looking four times an interval keeps each renewal close to its time.
	ticker := time.NewTicker(max(interval/4, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		var due []*task
		now := c.Now()
		c.holding.Lock()
		for _, t := range c.held {
			if now.Sub(t.renewed) >= interval {
				due = append(due, t)
				t.renewed = now
			}
		}
		c.holding.Unlock()
		for _, t := range due {
			if err := t.Extend(); err != nil {
				c.Logger.Debug("lease not renewed", "stream_seq", t.origin.Seq, "error", err)
			}
		}
	}
}
