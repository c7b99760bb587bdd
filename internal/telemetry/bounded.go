package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Of warnings and errors that say the same, this many may come at once, and one more each while after that.
const (
	sameLines      = 32
	sameLinesEvery = 5 * time.Minute
)

// Bounded returns a logger that leaves out warnings and errors where too many have the same message, so that a
// broker that is away fills no disk. What is left out is counted in the next line that isn't. A logger that shows
// debug lines leaves out nothing.
func Bounded(log *slog.Logger) *slog.Logger {
	if log.Enabled(context.Background(), slog.LevelDebug) {
		return log
	}
	return slog.New(bounded{log.Handler(), &sync.Map{}})
}

type bounded struct {
	slog.Handler
	seen *sync.Map // the repeats of each message, of which the program has only so many
}

type repeats struct {
	*rate.Limiter
	leftOut atomic.Int64
}

// Handle passes on what is not left out.
func (b bounded) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		return b.Handler.Handle(ctx, r)
	}
	value, _ := b.seen.LoadOrStore(r.Message, &repeats{Limiter: rate.NewLimiter(rate.Every(sameLinesEvery), sameLines)})
	same, _ := value.(*repeats)
	if !same.Allow() {
		same.leftOut.Add(1)
		return nil
	}
	r = r.Clone()
	if n := same.leftOut.Swap(0); n > 0 {
		r.AddAttrs(slog.Int64("left_out", n))
	}
	if same.Tokens() < 1 {
		r.AddAttrs(slog.String("repeats", "further lines like this are left out for a while"))
	}
	return b.Handler.Handle(ctx, r)
}

// WithAttrs keeps the bound.
func (b bounded) WithAttrs(attrs []slog.Attr) slog.Handler {
	return bounded{b.Handler.WithAttrs(attrs), b.seen}
}

// WithGroup keeps the bound.
func (b bounded) WithGroup(name string) slog.Handler {
	return bounded{b.Handler.WithGroup(name), b.seen}
}
