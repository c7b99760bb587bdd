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

// Headers of a job that the worker reads, besides [domain.HeaderReplay].
const (
	headerTraceParent = "traceparent"
	headerTraceState  = "tracestate"
)

// handBackDelay is how soon a job comes again that was handed back because the
// broker or the gate wouldn't have it handled now.
const handBackDelay = time.Second

// Why a job is handed back.
var (
	errStopping = errors.New("worker is stopping")
	errHeldHere = errors.New("the job is being handled by this worker already")
)

// task is one delivered job on its way through the steps.
type task struct {
	domain.Delivery
	origin  domain.Origin
	job     passcode.Job
	phone   passcode.Phone // canonical; zero where the job is invalid
	replays int
	// attempted is when the last attempt of the request's earlier life was begun,
	// zero where none was, or this is no replay.
	attempted time.Time
	log       *slog.Logger
	rec       passcode.Result
	revision  uint64
	// begun is the time of the attempt that the record counts, rec.AttemptedAt
	// with the monotonic clock's reading, which a stored record loses.
	begun time.Time
	// claimed is true once the request's record is known to be there.
	claimed bool
}

// handle takes one job through the steps: decode, admit, claim, reserve, send,
// settle. It returns when the job is acknowledged, handed back, or left to its
// lease because neither could be done.
//
// work bounds everything that must not be cut short; it ends only when the
// worker is forced to leave. stopping ends when the worker begins to stop, and
// with it every wait of a job for which nothing was begun yet. giveBack returns
// the turn to call Aliyun, where no call is made.
func (c *Consumer) handle(work, stopping context.Context, d domain.Delivery, giveBack func()) {
	turn := &turn{c: c, giveBack: giveBack}
	defer turn.end(work)
	c.metrics.InFlight(1)
	defer c.metrics.InFlight(-1)
	t := &task{Delivery: d, origin: d.Origin()}
	t.log = c.log.With("stream_seq", t.origin.Seq)
	c.conclude(work, t, func() error { return c.process(work, stopping, t, turn) })
}

// conclude sees to it that the job comes to an end or goes back: a valid one by
// way of process, any other at once.
func (c *Consumer) conclude(work context.Context, t *task, process func() error) {
	release, ok := c.leases.hold(t.Delivery)
	if !ok {
		c.handBack(t, errHeldHere)
		return
	}
	defer release()
	defer c.recoverPanic(work, t)

	job, invalid := c.decode(t)
	t.job = job
	t.rec = c.newRecord(t)
	if job.RequestID != "" {
		t.log = t.log.With("request_id", job.RequestID)
	}
	if trace := traceID(t.Header(headerTraceParent)); trace != "" {
		t.log = t.log.With("trace_id", trace)
	}

	var err error
	if invalid != nil {
		c.metrics.Delivery("invalid")
		t.log.Info("job refused", "error", invalid.Error())
		t.rec.Error = &passcode.Error{Code: codeInvalid, Class: passcode.ClassInvalid, Message: invalid.Error()}
		err = c.giveUp(work, t, verdict{
			record: t.rec.In(passcode.StatusRejected),
			dead:   passcode.ReasonInvalid,
			finish: finishTerm,
		})
	} else {
		err = process()
	}
	if errors.Is(err, domain.ErrCorrupt) || errors.Is(err, domain.ErrUnstorable) {
		err = c.giveUpWithoutRecord(work, t, err)
	}
	if err != nil {
		c.handBack(t, err)
	}
}

// giveUpWithoutRecord dead-letters a job whose record can be neither read nor
// written, so that it would come back for ever.
func (c *Consumer) giveUpWithoutRecord(ctx context.Context, t *task, why error) error {
	t.log.Error("the request's record can't be used", "error", why)
	t.rec.Error = &passcode.Error{Code: codeCorrupt, Class: passcode.ClassPoison, Message: "the request's record can't be read or written"}
	v := verdict{record: t.rec.In(passcode.StatusDeadLettered), dead: passcode.ReasonPoison, finish: finishTerm}
	if err := c.deadLetter(ctx, t, v); err != nil {
		return err
	}
	return c.finish(t, v)
}

// giveUp ends a job that can't even be claimed the ordinary way, because it
// breaks the rules or makes its handler panic: dead letter first, then the
// record where the job's request id can be read.
func (c *Consumer) giveUp(ctx context.Context, t *task, v verdict) error {
	if err := c.deadLetter(ctx, t, v); err != nil {
		return err
	}
	if t.job.RequestID == "" {
		return c.finish(t, v)
	}
	claim, err := c.claim(ctx, t, v.record)
	if err != nil {
		return err
	}
	switch claim.State {
	case domain.ClaimWon, domain.ClaimReopened:
		c.metrics.Status(v.record.Status)
		c.reply(t, claim.Record)
	case domain.ClaimResumed:
		// The worker that wrote the record may have died before it replied.
		if err := c.announceAgain(t, claim.Record); err != nil {
			return err
		}
	case domain.ClaimDuplicate:
		if err := c.announceDuplicate(t, claim.Record); err != nil {
			return err
		}
	case domain.ClaimInProgress:
		// The job that owns the request goes on undisturbed.
	}
	return c.finish(t, v)
}

// handBack returns a job to the broker that could not be brought to a verdict.
func (c *Consumer) handBack(t *task, err error) {
	delay := handBackDelay
	level := slog.LevelWarn
	switch {
	case errors.Is(err, errStopping):
		delay, level = 0, slog.LevelDebug
	case errors.Is(err, domain.ErrConflict):
		// Somebody else moved the request on; the message shows where to.
		level = slog.LevelInfo
	}
	c.metrics.Delivery("handed_back")
	t.log.Log(context.Background(), level, "job handed back", "error", err)
	if err := t.Nak(delay); err != nil {
		t.log.Warn("job could not be handed back; it comes again when its lease runs out", "error", err)
	}
}

// recoverPanic keeps a job that makes our own code panic from taking down the
// others. Before its claim there is no record to count it in, and it would
// panic again, so it is dead-lettered at once. After the claim its record says
// sending: it is left to its next delivery, which counts it as an interruption.
func (c *Consumer) recoverPanic(ctx context.Context, t *task) {
	p := recover()
	if p == nil {
		return
	}
	// The panic's value may quote the job, so only its type is logged.
	t.log.Error("panic while handling a job", "panic_type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
	if t.claimed {
		c.handBack(t, errors.New("the job made its handler panic"))
		return
	}
	t.rec.Error = &passcode.Error{Code: codePanic, Class: passcode.ClassPoison, Message: "the job made its handler panic"}
	err := c.giveUp(ctx, t, verdict{
		record: t.rec.In(passcode.StatusDeadLettered),
		dead:   passcode.ReasonPoison,
		finish: finishTerm,
	})
	if err != nil {
		c.handBack(t, err)
	}
}
