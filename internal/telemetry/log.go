// Package telemetry is what operators see of a running worker: its log, its
// metrics and the HTTP endpoints that serve them.
package telemetry

import (
	"context"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/time/rate"

	"github.com/passcode-worker/passcode-worker/internal/text"
)

// NewLogger returns a logger by the settings log.level and log.format.
//
// Phone numbers and passcodes mask themselves by type. The message and every error
// pass through [Scrub] too, since libraries don't know what they quote.
func NewLogger(w io.Writer, level, format string) *slog.Logger {
	var l slog.Level
	_ = l.UnmarshalText([]byte(level)) // package config has checked it
	options := &slog.HandlerOptions{Level: l, ReplaceAttr: scrubAttr}
	if format == "text" {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(text.EscapeJSON(w), options))
}

func scrubAttr(_ []string, a slog.Attr) slog.Attr {
	switch value := a.Value.Any().(type) {
	case time.Duration:
		return slog.String(a.Key, value.String()) // JSON would have nanoseconds
	case error:
		return slog.String(a.Key, Scrub(value.Error()))
	case []string:
		scrubbed := make([]string, len(value))
		for i, one := range value {
			scrubbed[i] = Scrub(one)
		}
		return slog.Any(a.Key, scrubbed)
	case string:
		if a.Key == slog.MessageKey || a.Key == "error" {
			return slog.String(a.Key, Scrub(value))
		}
	}
	return a
}

var (
	// query finds the query of a URL, where Aliyun's calls carry phone and passcode.
	query = regexp.MustCompile(`\?[^\s"']*=[^\s"']*`)
	// longDigits finds what may be a phone number.
	longDigits = regexp.MustCompile(`\+?\d{7,}`)
	// plain says what the NATS client's errors mean to an operator.
	plain = strings.NewReplacer(
		nats.ErrReconnectBufExceeded.Error(), "not connected to NATS",
		nats.ErrConnectionReconnecting.Error(), "not connected to NATS",
		nats.ErrNoServers.Error(), "no NATS server answers at this address",
		nats.ErrNoResponders.Error(), "no NATS server answers this request",
		jetstream.ErrNoStreamResponse.Error(), "no NATS server answers this request",
		jetstream.ErrNoHeartbeat.Error(), "NATS has fallen silent",
	)
)

// Scrub masks URL queries and runs of seven and more digits in a text that comes
// from outside, and replaces words of the NATS client that no operator knows.
func Scrub(text string) string {
	text = query.ReplaceAllString(text, "?****")
	return plain.Replace(longDigits.ReplaceAllString(text, "****"))
}

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
