// Package telemetry is what operators see of a running worker: its log, its
// metrics and the HTTP endpoints that serve them.
package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/text"
)

// NewLogger returns the worker's logger. level is one of slog's (debug, info,
// warn, error), format "json" or "text".
//
// Phone numbers and passcodes mask themselves by type. As a second net, the
// message and every error text pass through [Scrub], since errors come from
// libraries that don't know what they quote.
func NewLogger(w io.Writer, level, format string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("log.level %q: must be debug, info, warn or error", level)
	}
	options := &slog.HandlerOptions{Level: l, ReplaceAttr: scrubAttr}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(text.EscapeJSON(w), options)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	default:
		return nil, fmt.Errorf("log.format %q: must be json or text", format)
	}
}

func scrubAttr(_ []string, a slog.Attr) slog.Attr {
	switch value := a.Value.Any().(type) {
	case time.Duration:
		return slog.String(a.Key, value.String()) // JSON would have nanoseconds, which nobody reads
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
	// query finds the query part of a URL: Aliyun's calls carry phone and passcode
	// there, and net/http quotes the URL in its errors.
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
