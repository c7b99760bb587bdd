// Package retry repeats an operation on the broker that failed for a reason that
// passes: a lost connection, a leader being elected, no answer in time.
//
// The loop runs at the innermost place, in the adapter, which calls [Do]. Whoever
// is outermost names the policy, with [Policy.Context]. Loops don't nest: a [Do]
// within another one makes a single try, which the outer one repeats.
//
// A try that failed may have been carried out. So what is repeated must be safe to
// repeat, or the caller must look at what an earlier try left; see [NeverSent].
package retry

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Errors that tell which bound ended an operation; match with errors.Is.
var (
	// ErrNoAnswer: one try had no answer within [Policy.Try].
	ErrNoAnswer = errors.New("the broker did not answer in time")
	// ErrGaveUp: the tries together took longer than [Policy.Total].
	ErrGaveUp = errors.New("gave up on the broker")
	// ErrAgain marks an error as one that passes under every policy. It is no
	// trouble of the broker, so observers aren't told of it.
	ErrAgain = errors.New("worth another try")
)

// Policy says how long to try.
type Policy struct {
	// Try bounds one try. A request waits this long when its connection breaks.
	Try time.Duration
	// Total bounds all tries together; 0 leaves that to the context.
	Total time.Duration
	// First is the pause after the first failure; it doubles up to Longest. Each
	// pause varies by half, so that many workers don't come back as one.
	First   time.Duration
	Longest time.Duration
	// Passes says which errors are worth another try; nil means [Temporary].
	Passes func(error) bool
}

// The policies.
var (
	// Request suits a request that a job in hand waits for, and is the default. Its total is longer than a cluster
	// takes to elect a leader, four to nine seconds, and well within the lease of a job. Its first pauses are
	// short, for a compare-and-swap that lost a race.
	Request = Policy{Try: 2 * time.Second, Total: 15 * time.Second, First: 5 * time.Millisecond, Longest: time.Second}
	// Settle suits the outcome of a job. Giving up loses no job: the next delivery asks Aliyun.
	Settle = Policy{Try: 2 * time.Second, Total: 10 * time.Minute, First: 20 * time.Millisecond, Longest: 2 * time.Second, Passes: NotFinal}
	// Start suits a worker that waits for its broker at the start.
	Start = Policy{First: 200 * time.Millisecond, Longest: 10 * time.Second, Passes: NotFinal}
	// Pull suits the pull of jobs, for as long as the worker runs.
	Pull = Policy{First: 100 * time.Millisecond, Longest: time.Second, Passes: NotFinal}
	// Follow suits a watch, for as long as the worker runs.
	Follow = Policy{First: time.Second, Longest: 5 * time.Second, Passes: NotFinal}
	// Probe suits the claim of a probe, for which a job is waiting.
	Probe = Policy{Try: 2 * time.Second, Total: 2 * time.Second, First: 5 * time.Millisecond, Longest: 250 * time.Millisecond}
	// Inspect suits an operator's look: a broker that doesn't answer is to be reported.
	Inspect = Policy{Try: 2 * time.Second, Total: 5 * time.Second, First: 100 * time.Millisecond, Longest: time.Second}
)

// scope is what a context carries.
type scope struct {
	policy  *Policy   // nil: Request
	until   time.Time // what the policy's total comes to; zero: no bound
	observe func(error)
	after   func(time.Duration) <-chan time.Time
	looping bool
}

type scopeKey struct{}

func scopeOf(ctx context.Context) scope {
	s, ok := ctx.Value(scopeKey{}).(scope)
	if !ok {
		return scope{observe: func(error) {}, after: time.After}
	}
	return s
}

func with(ctx context.Context, change func(*scope)) context.Context {
	s := scopeOf(ctx)
	change(&s)
	return context.WithValue(ctx, scopeKey{}, s)
}

// Context returns a context under which [Do] follows the policy: all calls of it together take [Policy.Total] at most,
// and then fail with an error that wraps [ErrGaveUp].
func (p Policy) Context(ctx context.Context) context.Context {
	return with(ctx, func(s *scope) {
		s.policy, s.until, s.looping = &p, time.Time{}, false
		if p.Total > 0 {
			s.until = time.Now().Add(p.Total)
		}
	})
}

// Observe returns a context under which observe is told of each try that failed and is made again.
func Observe(ctx context.Context, observe func(error)) context.Context {
	return with(ctx, func(s *scope) { s.observe = observe })
}

// WithTimer returns a context under which after takes the place of [time.After], for tests.
func WithTimer(ctx context.Context, after func(time.Duration) <-chan time.Time) context.Context {
	return with(ctx, func(s *scope) { s.after = after })
}

// Bound returns a context that bounds all calls of [Do] under it together, by [Request] where ctx carries no policy.
func Bound(ctx context.Context) context.Context {
	if scopeOf(ctx).policy == nil {
		return Request.Context(ctx)
	}
	return ctx
}

// Do calls op until it succeeds, fails for good or the context ends, under the policy that the context carries
// ([Request] where it carries none). The context given to op ends after [Policy.Try]. An error that ended the tries
// wraps the bound that did it (the context's cause) and the last try's own error.
func Do(ctx context.Context, op func(context.Context) error) error {
	if scopeOf(ctx).looping {
		return try(ctx, Request.Try, op)
	}
	ctx = Bound(ctx)
	p := scopeOf(ctx).policy
	return p.run(ctx, cmp.Or(p.Try, Request.Try), op)
}

// Once is [Do] with a single try, of [Request], that nobody repeats.
func Once(ctx context.Context, op func(context.Context) error) error {
	return try(ctx, Request.Try, op)
}

// Value is [Do] for an op that has a result.
func Value[T any](ctx context.Context, op func(context.Context) (T, error)) (value T, err error) {
	err = Do(ctx, func(ctx context.Context) (err error) {
		value, err = op(ctx)
		return err
	})
	return value, err
}

// Do calls op under this policy, whatever the context carries. Where [Policy.Try]
// is 0 a try isn't bounded, so that op may consist of several calls of [Do].
func (p Policy) Do(ctx context.Context, op func(context.Context) error) error {
	return p.run(p.Context(ctx), p.Try, op)
}

func (p Policy) run(ctx context.Context, bound time.Duration, op func(context.Context) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s := scopeOf(ctx)
	ctx = with(ctx, func(s *scope) { s.looping = true })
	var err error
	quick := bound > 0 && (s.until.IsZero() || time.Until(s.until) > bound)
	if quick { // nearly every operation ends here, without a timer for the total
		if err = try(ctx, bound, op); err == nil {
			return nil
		}
	}
	if !s.until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadlineCause(ctx, s.until, fmt.Errorf("%w after %s", ErrGaveUp, p.Total))
		defer cancel()
	}
	if !quick {
		if ctx.Err() != nil { // earlier calls under the same total took all of it
			return context.Cause(ctx)
		}
		err = try(ctx, bound, op)
	}
	var pauses *backoff.ExponentialBackOff // made when needed, which is rare
	for last := error(nil); ; err = try(ctx, bound, op) {
		ended := ctx.Err()
		switch {
		case err == nil:
			return nil
		case ended != nil && (errors.Is(err, ended) || errors.Is(err, context.Cause(ctx))):
			return endedBy(ctx, last) // the bound fell into this try
		case !p.passes(err):
			return err
		}
		if !errors.Is(err, ErrAgain) {
			s.observe(err)
		}
		if pauses == nil {
			pauses = backoff.NewExponentialBackOff(backoff.WithInitialInterval(p.First), backoff.WithMaxInterval(p.Longest),
				backoff.WithMultiplier(2), backoff.WithMaxElapsedTime(0)) // bounded by the context
		}
		select {
		case <-ctx.Done():
			return endedBy(ctx, err)
		case <-s.after(pauses.NextBackOff()):
		}
		last = err
	}
}

func (p Policy) passes(err error) bool {
	permanent, _ := errors.AsType[*backoff.PermanentError](err)
	switch {
	case permanent != nil:
		return false
	case errors.Is(err, ErrAgain):
		return true
	case p.Passes != nil:
		return p.Passes(err)
	default:
		return Temporary(err)
	}
}

// Interval is the wait after a number of failures in a row, the first being 1:
// initial, multiplied with each further one, up to longest. It does not vary.
func Interval(initial time.Duration, multiplier float64, longest time.Duration, failures int) time.Duration {
	return time.Duration(min(float64(initial)*math.Pow(multiplier, float64(max(failures, 1)-1)), float64(longest)))
}

func endedBy(ctx context.Context, last error) error {
	if last == nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w; last try: %w", context.Cause(ctx), last)
}

func try(ctx context.Context, bound time.Duration, op func(context.Context) error) error {
	if bound == 0 {
		return op(ctx)
	}
	tryCtx, cancel := context.WithTimeoutCause(ctx, bound, ErrNoAnswer)
	defer cancel()
	err := op(tryCtx)
	if errors.Is(err, context.DeadlineExceeded) && tryCtx.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%w (%s)", ErrNoAnswer, bound)
	}
	return err
}
