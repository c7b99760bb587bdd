package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Of warnings and errors that say the same, this many may come at once, and one
// more each while after that.
const (
	sameLines      = 32
	sameLinesEvery = 5 * time.Minute
)

// Bounded returns a logger that leaves out warnings and errors where too many say
// the same: a broker that is away for a night is not worth a full disk, nor an
// operator's time to find the one line that tells why. Lines differ by their
// message alone, not by the job they are about. What is left out is counted in the
// next line that isn't.
//
// A logger that shows debug lines leaves out nothing.
func Bounded(log *slog.Logger) *slog.Logger {
	if log.Enabled(context.Background(), slog.LevelDebug) {
		return log
	}
	return slog.New(bounded{log.Handler(), &repeats{seen: map[string]*repeat{}}})
}

type bounded struct {
	slog.Handler
	repeats *repeats
}

// Handle passes on what is not left out.
func (b bounded) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		return b.Handler.Handle(ctx, r)
	}
	pass, leftOut, last := b.repeats.of(r.Message)
	if !pass {
		return nil
	}
	r = r.Clone()
	if leftOut > 0 {
		r.AddAttrs(slog.Int("left_out", leftOut))
	}
	if last {
		r.AddAttrs(slog.String("repeats", "further lines like this are left out for a while"))
	}
	return b.Handler.Handle(ctx, r)
}

// WithAttrs keeps the bound.
func (b bounded) WithAttrs(attrs []slog.Attr) slog.Handler {
	return bounded{b.Handler.WithAttrs(attrs), b.repeats}
}

// WithGroup keeps the bound.
func (b bounded) WithGroup(name string) slog.Handler {
	return bounded{b.Handler.WithGroup(name), b.repeats}
}

// repeats counts lines by their message. Messages are the program's own words, so
// there are only so many.
type repeats struct {
	mu   sync.Mutex
	seen map[string]*repeat
}

type repeat struct {
	limit   *rate.Limiter
	leftOut int
}

// of says whether a line passes, how many like it were left out before, and
// whether it is the last to pass for a while.
func (r *repeats) of(message string) (pass bool, leftOut int, last bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one, ok := r.seen[message]
	if !ok {
		one = &repeat{limit: rate.NewLimiter(rate.Every(sameLinesEvery), sameLines)}
		r.seen[message] = one
	}
	if !one.limit.Allow() {
		one.leftOut++
		return false, 0, false
	}
	leftOut, one.leftOut = one.leftOut, 0
	return true, leftOut, one.limit.Tokens() < 1
}
