package consumer

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Headers of a job that the worker reads, besides those of a replay.
const (
	headerTraceParent = "traceparent"
	headerTraceState  = "tracestate"
)

// Why a job is requeued.
var (
	errStopping = errors.New("worker is stopping")
	errHeldHere = errors.New("the job is being handled by this worker already")
)

// Handler takes single jobs to their end.
type Handler struct {
	Options
	effects  []Effect
	leases   *leases
	standing *standing
	// alone is held for the suspect whose call is in progress; see suspect.
	alone sync.Mutex
}

// NewHandler returns a Handler that carries decisions out in the order of the effects.
func NewHandler(o Options, effects []Effect) *Handler {
	return &Handler{
		Options: o, effects: effects,
		leases:   newLeases(o.AckWait, o.Now, o.Logger),
		standing: &standing{now: o.Now, of: map[thing]failing{}},
	}
}

func (h *Handler) newTask(d domain.Delivery) *task {
	t := &task{Delivery: d, h: h, origin: d.Origin(), stopping: context.Background(), permit: &permit{h: h, toPacer: func() {}}}
	t.log = h.Logger.With("stream_seq", t.origin.Seq)
	return t
}

// Handle takes one delivered job through the stages. It returns when the job is disposed of, or left to its
// lease because that failed. work ends only when the worker is forced to leave, stopping when it begins to
// stop. returnPermit is called if no call to Aliyun is made.
func (h *Handler) Handle(work, stopping context.Context, d domain.Delivery, returnPermit func()) {
	t := h.newTask(d)
	t.stopping, t.permit.toPacer = stopping, returnPermit
	defer t.permit.end(work)
	h.Metrics.InFlight(1)
	defer h.Metrics.InFlight(-1)
	h.conclude(work, t)
}

// Undeliverable ends a job that the server no longer delivers: as a dead letter poison, unless its request has
// ended already. Ack and Term of d take the job out of the stream; after Nak it is brought here again.
func (h *Handler) Undeliverable(ctx context.Context, d domain.Delivery, why domain.Undeliverable) {
	t := h.newTask(d)
	t.why = &why
	h.conclude(ctx, t)
}

// Lost tells an operator of a job that is gone from the stream. Nothing but its place there is known.
func (h *Handler) Lost(ctx context.Context, gone domain.Delivery, why domain.Undeliverable) error {
	t := h.newTask(gone)
	d := decision{record: passcode.Result{Error: undeliverableError(why)}, letter: passcode.ReasonPoison}
	if err := (executor{t}).writeDeadLetter(ctx, d); err != nil {
		return err
	}
	h.Metrics.Undeliverable(d.record.Error.Code)
	t.log.Error("a job was lost from the stream; its dead letter has no body", "code", d.record.Error.Code, "error", d.record.Error.Message)
	return nil
}

// conclude takes a job from its arrival to its end, or requeues it.
func (h *Handler) conclude(ctx context.Context, t *task) {
	release, ok := h.leases.hold(t.Delivery)
	if !ok {
		h.requeue(ctx, t, errHeldHere)
		return
	}
	defer release()
	defer func() {
		if t.alone {
			h.alone.Unlock()
		}
	}()
	defer h.recoverPanic(ctx, t)
	err := h.follow(ctx, t, arrived{})
	if errors.Is(err, domain.ErrCorrupt) || errors.Is(err, domain.ErrUnstorable) {
		t.log.Error("the request's record can't be used", "error", err)
		err = h.follow(ctx, t, unusable{}) // else the job would come back for ever
	}
	if err != nil {
		h.requeue(ctx, t, err)
	}
}

// follow takes a job from what happened to it to its end.
func (h *Handler) follow(ctx context.Context, t *task, e event) error {
	for {
		d := h.Policy.decide(t.rec, e, h.Now())
		if d.alone && !t.alone {
			if t.alone = h.alone.TryLock(); !t.alone {
				e = crowded{}
				continue
			}
		}
		if err := (executor{t}).carryOut(ctx, d); err != nil || d.next == stageEnd {
			return err
		}
		var err error
		if e, err = h.advance(ctx, t, d); err != nil {
			return err
		}
	}
}

// advance takes a job through the stages until something happens.
func (h *Handler) advance(ctx context.Context, t *task, d decision) (event, error) {
	for at := d.next; ; at++ {
		e, err := stages[at](t, ctx, d)
		if err != nil {
			return nil, err
		}
		if _, ok := e.(passed); !ok {
			return e, nil
		}
	}
}

// requeue returns a job to the broker that can't be handled here and now.
func (h *Handler) requeue(ctx context.Context, t *task, why error) {
	if err := h.follow(ctx, t, failed{why}); err != nil {
		t.log.Warn("job could not be requeued; it comes again when its lease runs out", "error", err)
	}
}

// recoverPanic keeps a job that makes our code panic from taking down the others. Before its claim it would
// panic for ever, with no record to count that in, so it is dead-lettered at once. After the claim it is requeued.
func (h *Handler) recoverPanic(ctx context.Context, t *task) {
	p := recover()
	if p == nil {
		return
	}
	// The panic's value may quote the job, so only its type is logged.
	t.log.Error("panic while handling a job", "panic_type", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
	if err := h.follow(ctx, t, panicked{claimed: t.claimed}); err != nil {
		h.requeue(ctx, t, err)
	}
}

// ended takes note of how an operation ended.
func (h *Handler) ended(op operation, err error) error {
	if err != nil {
		return h.trouble(op, err)
	}
	h.standing.worked(op)
	return nil
}

// trouble counts a failed broker operation and names it in the error.
func (h *Handler) trouble(op operation, err error) error {
	h.Metrics.Trouble(op.name)
	h.standing.failed(op, err)
	return fmt.Errorf("%s: %w", op.name, err)
}

// permit is the permission to make one call to Aliyun: from the pacer, and from the two breakers.
type permit struct {
	h            *Handler
	toPacer      func() // returns a permit that wasn't used
	used         bool
	probes       string // the request, if it is the outage breaker's probe
	accountProbe bool
	observed     bool // the account breaker was told of the call
}

// release returns the permit to the pacer ahead of the end, because no call needs it.
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
		until, err = p.h.Account.Trip(ctx, out.Code, out.Message)
	case showsAccountWorks(out):
		err = p.h.Account.Passed(ctx)
	default:
		return until
	}
	p.observed = true
	if err != nil {
		_ = p.h.trouble(opAccount, err)
		p.h.Logger.Warn("account breaker not updated", "error", err)
	}
	return until
}

// end returns what was not used.
func (p *permit) end(ctx context.Context) {
	if !p.used {
		p.toPacer()
		if p.probes != "" {
			p.h.Outage.NotCalled(p.probes)
		}
	}
	if !p.accountProbe || p.observed {
		return
	}
	if err := p.h.Account.Inconclusive(ctx); err != nil {
		p.h.Logger.Warn("probe not returned to the account breaker; another follows when it times out", "error", err)
	}
}
