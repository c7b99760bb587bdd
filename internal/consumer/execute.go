package consumer

import (
	"context"
	"errors"
	"log/slog"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// executor carries decisions on a job out.
type executor struct{ *task }

// Effect is one of the things that carrying a decision out does to the world: an operation on the broker, done
// if the decision asks for it.
type Effect struct {
	Name, on string
	wanted   func(d decision) bool
	do       func(t executor, ctx context.Context, d decision) error
}

// errMovedOn ends the work on a request that another worker has moved on: the message is that worker's too.
var errMovedOn = errors.New("another worker moved the request on")

// EffectsInOrder is the order in which a decision is carried out: the dead letter first, so that a job is never gone
// from the stream without one; the phone's limits before the record, because nobody comes back to a final record to
// release its reservation; last the message. Each can be done twice, so if a worker dies between two of them, the
// job's next delivery does the rest. TestModelFindsSwappedWrites shows what goes wrong if two change places.
var EffectsInOrder = []Effect{
	{"dead letter", letters, func(d decision) bool { return d.letter != "" }, executor.writeDeadLetter},
	{"close phone", limits, func(d decision) bool { return d.closeFor > 0 }, executor.closePhone},
	{"release", limits, func(d decision) bool { return d.release }, executor.release},
	{"record", records, func(d decision) bool { return d.store }, executor.record},
	{"announce", nothing, func(d decision) bool { return d.store || d.again }, executor.announce},
	{"disposition", nothing, func(d decision) bool { return d.next == stageEnd }, executor.dispose},
}

func (t executor) carryOut(ctx context.Context, d decision) error {
	switch {
	case d.holds:
		// This worker looks at few jobs during an outage. The others stay in the stream for
		// workers that can send them.
		t.permit = nil
	case t.goal == goalHold:
		t.returnPermit() // no call is made with it, and a look-up may take long
	}
	if d.delivery != "" {
		t.c.Metrics.Delivery(d.delivery)
	}
	switch {
	case d.note == "" || !t.c.Logger.Enabled(ctx, d.level):
	case d.why != nil:
		t.logger().Log(ctx, d.level, d.note, "error", d.why)
	default:
		t.logger().Log(ctx, d.level, d.note, t.attributes(t.outcome(d))...)
	}
	if d.goal != goalSend {
		t.goal = d.goal
	}
	for _, e := range t.c.effects {
		if !e.wanted(d) {
			continue
		}
		var err error
		if e.on == nothing {
			err = e.do(t, ctx, d)
		} else {
			err = t.c.retry(ctx, e.Name, e.on, func(ctx context.Context) error { return e.do(t, ctx, d) })
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (t executor) writeDeadLetter(ctx context.Context, d decision) error {
	err := t.c.WriteDeadLetter(ctx, domain.DeadLetter{
		Reason: d.letter, RequestID: t.rec.RequestID, Replays: t.replays, Origin: t.origin, Body: t.Body(),
		ErrorCode: d.record.Error.Code, ErrorMessage: d.record.Error.Message,
		Attempts: d.record.Attempts, AttemptedAt: d.record.AttemptedAt,
		TraceParent: t.Header("traceparent"), TraceState: t.Header("tracestate"),
	})
	if err != nil {
		return err
	}
	t.c.Metrics.DeadLetter(d.letter)
	if t.why != nil {
		t.c.Metrics.Undeliverable(undeliverableError(*t.why).Code)
	}
	return nil
}

// closePhone closes the phone in our limiter, because Aliyun did.
func (t executor) closePhone(ctx context.Context, d decision) error {
	return t.c.Limiter.CloseFor(ctx, t.phone, d.closeFor)
}

// release comes before the record, when another worker may have moved the request on. The revision, on
// which the decision rests, keeps it from releasing the reservation of a later attempt.
func (t executor) release(ctx context.Context, _ decision) error {
	return t.c.Limiter.Release(ctx, t.phone, t.rec.RequestID, t.revision)
}

func (t executor) record(ctx context.Context, d decision) error {
	d.record.Worker = t.c.Worker
	err := t.store(ctx, d)
	if err == nil {
		t.tell(d)
	}
	return err
}

// store writes the decision's record. It follows one that another worker changed, if the decision still holds.
func (t executor) store(ctx context.Context, d decision) error {
	mine := t.rec
	for range 3 { // at most two workers write to it
		if err := t.update(ctx, d.record); !errors.Is(err, domain.ErrConflict) {
			return err
		}
		stored, revision, err := t.c.Ledger.Get(ctx, d.record.RequestID)
		switch {
		case errors.Is(err, domain.ErrNotFound):
			// Without it the job would be taken for a new one.
			claim, err := t.c.Ledger.Claim(ctx, d.record)
			if err != nil {
				return err
			}
			if !claim.State.Own() {
				return t.movedOn(claim.Record)
			}
			t.logger().Warn("the request's record was lost; it is written again", "status", d.record.Status)
			t.rec, t.revision = claim.Record, claim.Revision
			return nil
		case err != nil:
			return err
		case !d.stillHolds(mine, stored):
			return t.movedOn(stored)
		}
		t.revision = revision
	}
	return domain.ErrConflict
}

func (t executor) movedOn(stored passcode.Result) error {
	t.logger().Info(errMovedOn.Error(), "status", stored.Status, "other_worker", stored.Worker)
	return errMovedOn
}

// announce publishes what the server doesn't: a result on the job's own reply subject, or a stored one once more.
func (t executor) announce(_ context.Context, d decision) error {
	rec := t.outcome(d)
	if d.again {
		rec.Duplicate = d.duplicate
		if err := t.c.Announce(t.c.ResultSubject+"."+rec.RequestID, rec); err != nil {
			return t.c.ended("announce", nothing, err)
		}
	}
	t.reply(rec)
	return nil
}

// reply sends a result to the job's own reply subject. A failure doesn't hold the job up: the result is stored
// and was announced.
func (t *task) reply(rec passcode.Result) {
	if t.job.ReplyTo == "" {
		return
	}
	if err := t.c.Announce(t.job.ReplyTo, rec); err != nil {
		_ = t.c.ended("reply", nothing, err)
		t.logger().Warn("result not published on the job's reply subject", "error", err)
	}
}

// dispose acks, naks or terms the message.
func (t executor) dispose(_ context.Context, d decision) error {
	switch d.disposition {
	case nak:
		return t.Nak(d.delay)
	case term:
		// The server's advisory and the operator's tools show the reason.
		rec := t.outcome(d)
		reason := string(rec.Status)
		if rec.Error != nil {
			reason += ": " + rec.Error.Code
		}
		return t.Term(reason)
	default:
		return t.Ack()
	}
}

// outcome is the request's record after the decision.
func (t executor) outcome(d decision) passcode.Result {
	if d.record.Status == "" { // the decision changes nothing
		return t.rec
	}
	return d.record
}

// tell counts and logs a change of a request's state.
func (t executor) tell(d decision) {
	rec := d.record
	t.c.Metrics.Status(rec.Status)
	if rec.Status == passcode.StatusSent {
		t.c.Metrics.Sent(rec.UpdatedAt.Sub(rec.QueuedAt))
	}
	level, text := slog.LevelInfo, "request "+string(rec.Status)
	if d.letter == passcode.ReasonConfig { // one such job means that every job of its kind fails
		level, text = slog.LevelError, "job dead-lettered: fix its template, signature or parameters"
	}
	if ctx := context.Background(); t.c.Logger.Enabled(ctx, level) {
		t.logger().Log(ctx, level, text, t.attributes(rec)...)
	}
}

func (t executor) attributes(rec passcode.Result) []any {
	attrs := []any{"status", rec.Status, "phone", rec.Phone, "usage_type", rec.UsageType, "attempts", rec.Attempts}
	if rec.Worker != t.c.Worker { // the log names ours in each line
		attrs = append(attrs, "other_worker", rec.Worker)
	}
	if rec.BizID != "" {
		attrs = append(attrs, "biz_id", rec.BizID)
	}
	if rec.Error != nil {
		attrs = append(attrs, "class", rec.Error.Class, "code", rec.Error.Code, "error", rec.Error.Message)
	}
	if !rec.NextAttemptAt.IsZero() {
		attrs = append(attrs, "next_attempt_at", rec.NextAttemptAt)
	}
	return attrs
}
