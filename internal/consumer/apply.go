package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// settleBound is how long a verdict is tried to be stored while the broker is in
// trouble. Giving up loses no job: the next delivery asks Aliyun what became of
// the attempt, which takes longer than knowing.
const settleBound = 10 * time.Minute

// effect is one of the things that carrying a verdict out does to the world. It
// returns false where there is nothing left to do for this worker.
type effect struct {
	name string
	do   func(c *Consumer, ctx context.Context, t *task, v verdict) (goOn bool, err error)
}

// effectsInOrder is the order in which a verdict is carried out: what must not be
// lost first, the acknowledgement last.
//
//  1. the dead letter, so that a job is never gone from the stream without one;
//  2. the phone's limits, because once the record is final nobody would come
//     back to give the place up;
//  3. the record, which announces the result;
//  4. the job's own reply subject;
//  5. ack, nak or term.
//
// A worker that dies between any two of them leaves a job whose next delivery
// finishes the rest: each can be done twice. TestModelFindsSwappedWrites tells
// what goes wrong where two of them change places.
var effectsInOrder = []effect{
	{"dead letter", (*Consumer).effectDeadLetter},
	{"close phone", (*Consumer).effectClosePhone},
	{"release", (*Consumer).effectRelease},
	{"record", (*Consumer).effectRecord},
	{"reply", (*Consumer).effectReply},
	{"finish", (*Consumer).effectFinish},
}

// apply carries a verdict out.
func (c *Consumer) apply(ctx context.Context, t *task, v verdict) error {
	ctx, cancel := context.WithTimeoutCause(ctx, settleBound,
		fmt.Errorf("the verdict could not be stored within %s", settleBound))
	defer cancel()
	for _, e := range c.effects {
		if goOn, err := e.do(c, ctx, t, v); err != nil || !goOn {
			return err
		}
	}
	return nil
}

func (c *Consumer) effectDeadLetter(ctx context.Context, t *task, v verdict) (bool, error) {
	if v.dead == "" {
		return true, nil
	}
	return true, c.deadLetter(ctx, t, v)
}

// effectClosePhone closes the phone in our limiter, where Aliyun did.
func (c *Consumer) effectClosePhone(ctx context.Context, t *task, v verdict) (bool, error) {
	if v.closeFor <= 0 {
		return true, nil
	}
	return true, c.insist(ctx, "close phone", func() error { return c.limiter.CloseFor(ctx, t.phone, v.closeFor) })
}

// effectRelease gives the request's place in the limits back. It comes before the
// record, so it can't be known yet whether another worker has moved the request on.
// The revision of the record on which the verdict rests keeps it from taking the
// place of an attempt that was begun since.
func (c *Consumer) effectRelease(ctx context.Context, t *task, v verdict) (bool, error) {
	if !v.release {
		return true, nil
	}
	return true, c.insist(ctx, "release", func() error {
		return c.limiter.Release(ctx, t.phone, t.rec.RequestID, t.revision)
	})
}

// effectRecord ends the work here where another worker has moved the request on:
// the message is that worker's too.
func (c *Consumer) effectRecord(ctx context.Context, t *task, v verdict) (bool, error) {
	owner, err := c.store(ctx, t, v)
	if err != nil || !owner {
		return false, err
	}
	c.settled(t, v)
	return true, nil
}

func (c *Consumer) effectReply(_ context.Context, t *task, v verdict) (bool, error) {
	c.reply(t, v.record)
	return true, nil
}

func (c *Consumer) effectFinish(_ context.Context, t *task, v verdict) (bool, error) {
	return true, c.finish(t, v)
}

// deadLetter stores the job in the dead-letter stream.
func (c *Consumer) deadLetter(ctx context.Context, t *task, v verdict) error {
	letter := domain.DeadLetter{
		Reason:       v.dead,
		RequestID:    t.rec.RequestID,
		ErrorCode:    v.record.Error.Code,
		ErrorMessage: v.record.Error.Message,
		Attempts:     v.record.Attempts,
		AttemptedAt:  v.record.AttemptedAt,
		Replays:      t.replays,
		Origin:       t.origin,
		TraceParent:  t.Header(headerTraceParent),
		TraceState:   t.Header(headerTraceState),
		Body:         t.Body(),
	}
	err := c.insist(ctx, "dead letter", func() error { return c.deadLetters.Write(ctx, letter) })
	if err != nil {
		return err
	}
	c.metrics.DeadLetter(v.dead)
	return nil
}

// store writes the verdict's record. It returns false where the request was
// moved on by another worker, which then owns the message too.
func (c *Consumer) store(ctx context.Context, t *task, v verdict) (owner bool, err error) {
	var conflict bool
	write := func() error {
		revision, err := c.ledger.Update(ctx, v.record, t.revision)
		if errors.Is(err, domain.ErrConflict) {
			conflict = true
			return nil
		}
		if err == nil {
			t.rec, t.revision = v.record, revision
		}
		return err
	}
	for range maxRebases {
		conflict = false
		if err := c.insist(ctx, "record", write); err != nil {
			return false, err
		}
		if !conflict {
			return true, nil
		}
		ok, err := c.rebase(ctx, t, v)
		if errors.Is(err, domain.ErrNotFound) {
			return c.storeAnew(ctx, t, v)
		}
		if err != nil || !ok {
			return false, err
		}
	}
	return false, domain.ErrConflict
}

// maxRebases bounds how often a verdict follows a record that keeps changing. A
// request has two workers at the very most that write to it.
const maxRebases = 3

// rebase decides whether a verdict still holds after the record changed under
// it. It does where this worker lost its lease during the call, another took the
// same attempt for doubtful, and we know what became of it: knowing beats
// doubting. In every other case the request has moved on without us.
func (c *Consumer) rebase(ctx context.Context, t *task, v verdict) (bool, error) {
	var now passcode.Result
	var revision uint64
	err := c.insist(ctx, "record", func() error {
		var err error
		now, revision, err = c.ledger.Get(ctx, t.rec.RequestID)
		if errors.Is(err, domain.ErrNotFound) {
			return backoff.Permanent(err)
		}
		return err
	})
	if err != nil {
		return false, err
	}
	sameAttempt := now.StreamSeq == t.rec.StreamSeq && now.Replays == t.rec.Replays &&
		now.AttemptedAt.Equal(t.rec.AttemptedAt) && !now.Final &&
		(now.Status == passcode.StatusSending || now.Status == passcode.StatusInDoubt)
	if !v.certain || !sameAttempt {
		t.log.Info("another worker moved the request on", "status", now.Status, "other_worker", now.Worker)
		return false, nil
	}
	t.revision = revision
	return true, nil
}

// finish acknowledges the message as the verdict says.
func (c *Consumer) finish(t *task, v verdict) error {
	switch v.finish {
	case finishNak:
		return t.Nak(v.delay)
	case finishTerm:
		return t.Term(termReason(v))
	default:
		return t.Ack()
	}
}

// termReason is what the server's advisory and the operator's tools show.
func termReason(v verdict) string {
	if v.record.Error == nil {
		return string(v.record.Status)
	}
	return string(v.record.Status) + ": " + v.record.Error.Code
}

// settled counts and logs a change of a request's state.
func (c *Consumer) settled(t *task, v verdict) {
	rec := v.record
	c.metrics.Status(rec.Status)
	if rec.Status == passcode.StatusSent {
		c.metrics.Sent(rec.UpdatedAt.Sub(rec.QueuedAt))
	}
	attrs := []any{"status", rec.Status, "phone", rec.Phone, "usage_type", rec.UsageType, "attempts", rec.Attempts}
	if rec.BizID != "" {
		attrs = append(attrs, "biz_id", rec.BizID)
	}
	if rec.Error != nil {
		attrs = append(attrs, "class", rec.Error.Class, "code", rec.Error.Code, "error", rec.Error.Message)
	}
	if !rec.NextAttemptAt.IsZero() {
		attrs = append(attrs, "next_attempt_at", rec.NextAttemptAt)
	}
	if v.dead == passcode.ReasonConfig {
		// One such job means that every job of its kind fails.
		t.log.Error("job dead-lettered: template, signature or parameters need mending", attrs...)
		return
	}
	t.log.Info("request "+string(rec.Status), attrs...)
}

// insist repeats a broker operation until it succeeds or ctx ends. An error that
// is backoff.Permanent ends it at once.
func (c *Consumer) insist(ctx context.Context, operation string, f func() error) error {
	b := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(50*time.Millisecond),
		backoff.WithMaxInterval(2*time.Second),
		backoff.WithMaxElapsedTime(0), // ctx bounds it
	)
	warned := false
	var timer backoff.Timer // nil: the system's
	if c.newTimer != nil {
		timer = c.newTimer()
	}
	err := backoff.RetryNotifyWithTimer(f, backoff.WithContext(b, ctx), func(err error, _ time.Duration) {
		_ = c.trouble(operation, err)
		if !warned { // once for each job and operation, not for each try
			c.log.Warn("broker operation failed; trying on", "operation", operation, "error", err)
			warned = true
		}
	}, timer)
	if err == nil {
		c.standing.worked(operation)
	}
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%s: %w (last: %w)", operation, context.Cause(ctx), err)
	}
	return err
}
