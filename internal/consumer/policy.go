package consumer

import (
	"hash/fnv"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// Policy is what the settings say about the life of a request.
type Policy struct {
	// PasscodeTTL is how long a code without expires_at is worth sending.
	PasscodeTTL time.Duration
	// MaxAttempts is how many calls are made before a job is given up.
	MaxAttempts int
	// MaxInterruptions is how many workers a job may take down with it.
	MaxInterruptions int
	// Backoff says how long to wait after a failed attempt, the first being 1.
	Backoff func(requestID string, attempt int) time.Duration
	// Lookups are the times after a doubtful attempt at which Aliyun is asked
	// what became of it, ascending.
	Lookups []time.Duration
	// CallBound is how long after its claim an attempt may still be under way,
	// wherever it is made. Another worker's attempt is not followed by one of
	// ours before that.
	CallBound time.Duration
	// Resend says whether to attempt again when no look-up found anything.
	Resend bool
}

// Backoff returns the wait after each attempt: exponential, as backoff/v4
// computes it, and spread by up to factor either way.
//
// The spread is drawn from the request id and not anew for each attempt. So
// requests that failed together still come back apart, while the gaps of one
// request always grow, and every replica computes the same.
func Backoff(initial time.Duration, multiplier, factor float64, maxInterval time.Duration) func(string, int) time.Duration {
	return func(requestID string, attempt int) time.Duration {
		b := backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(initial),
			backoff.WithMultiplier(multiplier),
			backoff.WithRandomizationFactor(0),
			backoff.WithMaxInterval(maxInterval),
			// Without this backoff/v4 says Stop after 15 minutes; when to stop
			// is settled by attempts and expiry.
			backoff.WithMaxElapsedTime(0),
		)
		interval := b.NextBackOff()
		for range attempt - 1 {
			if interval >= maxInterval {
				break
			}
			interval = b.NextBackOff()
		}
		return time.Duration(float64(interval) * (1 + factor*spread(requestID)))
	}
}

// spread maps a request id evenly onto [-1, 1).
func spread(requestID string) float64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(requestID)) // a hash never fails
	// FNV mixes its last bytes badly upwards; ids that count up differ only
	// there, so one more multiplication spreads them.
	x := h.Sum64() * 0x9E3779B97F4A7C15
	return float64(x>>11)/(1<<52) - 1
}
