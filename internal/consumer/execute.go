package consumer

import (
	"context"
	"errors"
	"log/slog"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// executor carries decisions on a job out.
type executor struct{ *task }

// Effect is one of the things that carrying a decision out does to the world. It returns
// false where there is nothing left to do for this worker.
type Effect struct {
	Name string
	do   func(t executor, ctx context.Context, d decision) (goOn bool, err error)
}

// EffectsInOrder is the order in which a decision is carried out: what must not be lost
// first, the disposition last.
//
//  1. the dead letter, so that a job is never gone from the stream without one;
//  2. the phone's limits, because once the record is final nobody would come back to
//     release the reservation;
//  3. the record, which announces the result;
//  4. the announcements that the server doesn't make;
//  5. ack, nak or term.
//
// A worker that dies between any two of them leaves a job whose next delivery finishes
// the rest: each can be done twice. TestModelFindsSwappedWrites tells what goes wrong
// where two of them change places.
var EffectsInOrder = []Effect{
	{"dead letter", (executor).writeDeadLetter},
	{"close phone", (executor).closePhone},
	{"release", (executor).release},
	{"record", (executor).record},
	{"announce", (executor).announce},
	{"disposition", (executor).dispose},
}

// carryOut carries a decision out.
func (t executor) carryOut(ctx context.Context, d decision) error {
	switch {
	case d.holds:
		// So the worker looks at jobs at the pace of the outage, and the others stay in
		// the stream for whoever can send them.
		t.permit.use()
	case t.goal == goalHold:
		t.permit.release() // no call is made with it, and a look-up may take long
	}
	if d.delivery != "" {
		t.h.Metrics.Delivery(d.delivery)
	}
	if d.undeliverable != "" {
		t.h.Metrics.Undeliverable(d.undeliverable)
	}
	switch {
	case d.note == "":
	case d.why != nil:
		t.log.Log(ctx, d.level, d.note, "error", d.why)
	case d.record.Status != "":
		t.log.Log(ctx, d.level, d.note, t.attributes(d.record)...)
	default:
		t.log.Log(ctx, d.level, d.note, t.attributes(t.rec)...)
	}
	if d.goal != goalSend {
		t.goal = d.goal
	}
	for _, e := range t.h.effects {
		if goOn, err := e.do(t, ctx, d); err != nil || !goOn {
			return err
		}
	}
	return nil
}

func (t executor) writeDeadLetter(ctx context.Context, d decision) (bool, error) {
	if d.letter == "" {
		return true, nil
	}
	letter := domain.DeadLetter{
		Reason:       d.letter,
		RequestID:    t.rec.RequestID,
		ErrorCode:    d.record.Error.Code,
		ErrorMessage: d.record.Error.Message,
		Attempts:     d.record.Attempts,
		AttemptedAt:  d.record.AttemptedAt,
		Replays:      t.replays,
		Origin:       t.origin,
		TraceParent:  t.Header(headerTraceParent),
		TraceState:   t.Header(headerTraceState),
		Body:         t.Body(),
	}
	err := t.h.retry(ctx, opDeadLetter, func(ctx context.Context) error { return t.h.DeadLetters.Write(ctx, letter) })
	if err != nil {
		return false, err
	}
	t.h.Metrics.DeadLetter(d.letter)
	return true, nil
}

// closePhone closes the phone in our limiter, where Aliyun did.
func (t executor) closePhone(ctx context.Context, d decision) (bool, error) {
	if d.closeFor <= 0 {
		return true, nil
	}
	return true, t.h.retry(ctx, opClosePhone, func(ctx context.Context) error {
		return t.h.Limiter.CloseFor(ctx, t.phone, d.closeFor)
	})
}

// release gives the request's reservation up. It comes before the record, so it can't be
// known yet whether another worker has moved the request on. The revision of the record
// on which the decision rests keeps it from releasing the reservation of an attempt that
// was begun since.
func (t executor) release(ctx context.Context, d decision) (bool, error) {
	if !d.release {
		return true, nil
	}
	return true, t.h.retry(ctx, opRelease, func(ctx context.Context) error {
		return t.h.Limiter.Release(ctx, t.phone, t.rec.RequestID, t.revision)
	})
}

// record ends the work here where another worker has moved the request on: the message
// is that worker's too.
func (t executor) record(ctx context.Context, d decision) (bool, error) {
	if !d.store {
		return true, nil
	}
	d.record.Worker = t.h.Worker
	owner, err := t.store(ctx, d)
	if err != nil || !owner {
		return false, err
	}
	t.tell(d)
	return true, nil
}

// maxRebases bounds how often a decision follows a record that keeps changing. A request
// has two workers at the very most that write to it.
const maxRebases = 3

// store writes the decision's record. It returns false where the request was moved on by
// another worker.
func (t executor) store(ctx context.Context, d decision) (owner bool, err error) {
	mine := t.rec
	for range maxRebases {
		err = t.h.retry(ctx, opRecord, func(ctx context.Context) error { return t.update(ctx, d.record) })
		if !errors.Is(err, domain.ErrConflict) {
			return err == nil, err
		}
		var stored passcode.Result
		var revision uint64
		err = t.h.retry(ctx, opRecord, func(ctx context.Context) (err error) {
			stored, revision, err = t.h.Ledger.Get(ctx, d.record.RequestID)
			return err
		})
		switch {
		case errors.Is(err, domain.ErrNotFound):
			return t.storeLost(ctx, d)
		case err != nil:
			return false, err
		case !d.stillHolds(mine, stored):
			t.log.Info("another worker moved the request on", "status", stored.Status, "other_worker", stored.Worker)
			return false, nil
		}
		t.revision = revision
	}
	return false, domain.ErrConflict
}

// storeLost writes a record that is gone from the broker. What this worker knows is all
// that is known of the request; were it not written down, the job would be taken for a
// new one.
func (t executor) storeLost(ctx context.Context, d decision) (owner bool, err error) {
	var claim domain.Claim
	err = t.h.retry(ctx, opRecord, func(ctx context.Context) (err error) {
		claim, err = t.h.Ledger.Claim(ctx, d.record)
		return err
	})
	if err != nil {
		return false, err
	}
	if !claim.State.Own() {
		t.log.Info("another worker moved the request on", "status", claim.Record.Status, "other_worker", claim.Record.Worker)
		return false, nil
	}
	t.log.Warn("the request's record was lost; it is written again", "status", d.record.Status)
	t.rec, t.revision = claim.Record, claim.Revision
	return true, nil
}

// announce publishes what the server doesn't: a result on the job's own reply subject, or
// a stored one once more.
func (t executor) announce(_ context.Context, d decision) (bool, error) {
	rec := t.rec
	switch d.announce {
	case announceNothing:
		return true, nil
	case announceReply:
		t.reply(d.record)
		return true, nil
	case announceDuplicate:
		rec.Duplicate = true
	}
	if err := t.h.Announcer.Announce(t.h.ResultSubject+"."+rec.RequestID, rec); err != nil {
		return false, t.h.trouble(opAnnounce, err)
	}
	t.reply(rec)
	return true, nil
}

// reply sends a result to the job's own reply subject, where it has one. A failure doesn't
// hold the job up: the result is stored and was announced.
func (t *task) reply(rec passcode.Result) {
	if t.job.ReplyTo == "" {
		return
	}
	if err := t.h.Announcer.Announce(t.job.ReplyTo, rec); err != nil {
		_ = t.h.trouble(opReply, err)
		t.log.Warn("result not published on the job's reply subject", "error", err)
	}
}

// dispose acks, naks or terms the message, unless the job goes on.
func (t executor) dispose(_ context.Context, d decision) (bool, error) {
	if d.next != stageEnd {
		return true, nil
	}
	switch d.disposition {
	case nak:
		return true, t.Nak(d.delay)
	case term:
		// The server's advisory and the operator's tools show the reason. A decision
		// that writes nothing has no record, so the request's own tells.
		rec := d.record
		if rec.Status == "" {
			rec = t.rec
		}
		reason := string(rec.Status)
		if rec.Error != nil {
			reason += ": " + rec.Error.Code
		}
		return true, t.Term(reason)
	default:
		return true, t.Ack()
	}
}

// tell counts and logs a change of a request's state.
func (t executor) tell(d decision) {
	rec := d.record
	t.h.Metrics.Status(rec.Status)
	if rec.Status == passcode.StatusSent {
		t.h.Metrics.Sent(rec.UpdatedAt.Sub(rec.QueuedAt))
	}
	level, text := slog.LevelInfo, "request "+string(rec.Status)
	if d.letter == passcode.ReasonConfig { // one such job means that every job of its kind fails
		level, text = slog.LevelError, "job dead-lettered: fix its template, signature or parameters"
	}
	t.log.Log(context.Background(), level, text, t.attributes(rec)...)
}

func (t executor) attributes(rec passcode.Result) []any {
	attrs := []any{"status", rec.Status, "phone", rec.Phone, "usage_type", rec.UsageType, "attempts", rec.Attempts}
	if rec.Worker != t.h.Worker { // the log names ours in each line
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

// retry repeats a broker operation until it succeeds, has a final answer, or ctx ends.
func (h *Handler) retry(ctx context.Context, op operation, f func(context.Context) error) error {
	warned := false
	ctx, cancel := retry.Settle.Context(ctx, func(err error) {
		_ = h.trouble(op, err)
		if !warned { // once for each job and operation, not for each try
			h.Logger.Warn("broker operation failed; trying again", "operation", op.name, "error", err)
			warned = true
		}
	})
	defer cancel()
	err := f(ctx)
	if err == nil {
		h.standing.worked(op)
	}
	return err
}
