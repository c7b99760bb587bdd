package pace

import (
	"context"
	"log/slog"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Options are the settings of a [Control].
type Options struct {
	MaxQPS      float64       // caps how many calls a second may begin; 0 is no cap
	CallTimeout time.Duration // the longest that a call takes
	Now         func() time.Time
	Logger      *slog.Logger // is told when the outage breaker opens and closes
}

// Control joins a pacer and an outage breaker, which both follow what calls come to.
// It is safe for concurrent use.
type Control struct {
	pacer   *pacer
	breaker *OutageBreaker
}

// New returns a control that knows of no call yet.
func New(o Options) *Control {
	p := newPacer(o.MaxQPS, o.Now)
	return &Control{p, &OutageBreaker{now: o.Now, log: o.Logger, pacer: p, patience: 2 * o.CallTimeout}}
}

// Pace waits until a call may be made at the current rate. The caller makes the
// call, or releases its permit. The error is ctx's.
func (c *Control) Pace(ctx context.Context) (release func(), err error) { return c.pacer.wait(ctx) }

// Rate is how many calls a second may be made; +Inf is no bound, 0 that the
// outage breaker is open.
func (c *Control) Rate() float64 { return c.pacer.rate() }

// Breaker says whether calls may be made at all.
func (c *Control) Breaker() *OutageBreaker { return c.breaker }

// Observe lets what a call that began then came to affect those to come.
func (c *Control) Observe(requestID string, began time.Time, out domain.Outcome) {
	if out.Class == passcode.ClassThrottled {
		c.pacer.throttled(began)
	}
	c.breaker.observe(requestID, began, out)
}

// ObserveLookup takes note that a look-up was answered.
func (c *Control) ObserveLookup() { c.breaker.answered() }
