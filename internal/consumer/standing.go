package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/retry"
)

// What the operations on the broker work on.
const (
	nothing = "" // its trouble holds up no job
	letters = "the dead letters"
	jobs    = "the jobs"
	limits  = "the limits"
	records = "the records"
)

// failing is since when something in the broker has failed and not worked again. Meanwhile no job comes to its end,
// and the worker's readiness says so.
type failing struct {
	since, last time.Time
	err         error
}

const (
	standsAfter = 2 * time.Second // of failing, it is reported
	forgetAfter = time.Minute     // without a failure, it is over: a job that failed comes again sooner
)

// ended takes note of how an operation ended, and names it in the error.
func (c *Consumer) ended(name, on string, err error) error {
	if err != nil {
		c.Metrics.Trouble(name)
		err = fmt.Errorf("%s: %w", name, err)
	}
	if on == nothing || errors.Is(err, domain.ErrConflict) || unusable(err) {
		return err // that is no trouble of the broker
	}
	c.standing.Lock()
	defer c.standing.Unlock()
	if err == nil {
		delete(c.failing, on)
		return nil
	}
	f, known := c.failing[on]
	f.last, f.err = c.Now(), err
	if !known {
		f.since = f.last
	}
	c.failing[on] = f
	return err
}

// unusable reports an error that comes back with each try, because of what the record is.
func unusable(err error) bool {
	return errors.Is(err, domain.ErrCorrupt) || errors.Is(err, domain.ErrUnstorable)
}

// retry repeats a broker operation until it succeeds, has a final answer, or ctx ends.
func (c *Consumer) retry(ctx context.Context, name, on string, f func(context.Context) error) error {
	warned := false
	ctx = retry.Settle.Context(retry.Observe(ctx, func(err error) {
		_ = c.ended(name, on, err)
		if !warned { // once for each job and operation, not for each try
			c.Logger.Warn("broker operation failed; trying again", "operation", name, "error", err)
			warned = true
		}
	}))
	if err := f(ctx); err != nil {
		return err
	}
	return c.ended(name, on, nil)
}

// Standing says what in the broker has failed for a while. Each wraps the last failure.
func (c *Consumer) Standing() (all []error) {
	now := c.Now()
	c.standing.Lock()
	defer c.standing.Unlock()
	for _, on := range []string{letters, jobs, limits, records} {
		f, known := c.failing[on]
		switch {
		case !known:
		case now.Sub(f.last) > forgetAfter:
			delete(c.failing, on)
		case now.Sub(f.since) >= standsAfter:
			all = append(all, fmt.Errorf("%s fail since %s (%w)", on, f.since.Format(time.RFC3339), f.err))
		}
	}
	return all
}
