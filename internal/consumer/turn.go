package consumer

import (
	"context"
	"fmt"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// maxGateWait is the longest a job is left in the broker while the gate is
// closed. The pause on the server holds it back for as long as it lasts; the
// delay only spreads the return.
const maxGateWait = 5 * time.Second

// turn is the permission to make one call: the pacer's, and the gate's.
type turn struct {
	c        *Consumer
	giveBack func() // to the pacer
	used     bool
	probe    bool   // for the gate
	trial    string // the request that is the breaker's probe; empty: none is
	learned  bool
	// until is when the next call may be made, after a trip.
	until time.Time
}

// admit asks the gate before anything is written, so that a job that has to wait
// is not yet claimed and is handed back at no cost, as it is here where the gate
// is closed.
func (c *Consumer) admit(ctx context.Context, t *task, turn *turn) (bool, error) {
	admission, err := c.gate.Admit(ctx)
	if err != nil {
		return false, c.waitEnded(ctx, "admit", err)
	}
	if !admission.Allowed {
		return false, t.Nak(heldFor(t, admission.Wait))
	}
	turn.probe = admission.Probe
	return true, nil
}

// heldFor is how long a job stays in the broker that was not admitted and is to
// wait that long.
func heldFor(t *task, wait time.Duration) time.Duration {
	return min(wait, maxGateWait) + time.Duration((1+spread(t.rec.RequestID))/2*float64(handBackDelay))
}

// waitEnded tells a stopping worker from a real failure.
func (c *Consumer) waitEnded(ctx context.Context, operation string, err error) error {
	if ctx.Err() != nil {
		return errStopping
	}
	return c.trouble(operation, err)
}

// use marks the turn as taken: a call is made with it.
func (t *turn) use() { t.used = true }

// release returns a turn to the pacer ahead of the end, where no call needs it.
func (t *turn) release() {
	t.giveBack()
	t.used = true
}

// learn tells the gate what the call said about the account.
func (t *turn) learn(ctx context.Context, s signal, out domain.Outcome) {
	var err error
	switch s {
	case signalPassed:
		t.learned = true
		err = t.c.gate.Passed(ctx)
	case signalTrip:
		t.learned = true
		t.until, err = t.c.gate.Trip(ctx, out.Code, out.Message)
	case signalNothing:
		return
	}
	if err != nil {
		_ = t.c.trouble("gate", err)
		t.c.log.Warn("account gate not updated", "error", err)
	}
}

// end gives back what the turn did not use.
func (t *turn) end(ctx context.Context) {
	if !t.used {
		t.giveBack()
		if t.trial != "" {
			t.c.breaker.GiveBack(t.trial)
		}
	}
	if !t.probe || t.learned {
		return
	}
	if err := t.c.gate.GiveBack(ctx); err != nil {
		t.c.log.Warn("probe not given back; another follows when it times out", "error", err)
	}
}

// trouble counts a failed broker operation and names it in the error.
func (c *Consumer) trouble(operation string, err error) error {
	c.metrics.Trouble(operation)
	c.standing.failed(operation, err)
	return fmt.Errorf("%s: %w", operation, err)
}
