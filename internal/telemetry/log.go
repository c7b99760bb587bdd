// Package telemetry is what operators see of a running worker: its log, its
// metrics and the HTTP endpoints that serve them.
package telemetry

import (
	"fmt"
	"io"
	"log/slog"
	"regexp"
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
		return slog.New(slog.NewJSONHandler(w, options)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	default:
		return nil, fmt.Errorf("log.format %q: must be json or text", format)
	}
}

func scrubAttr(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		// JSON would have nanoseconds, which nobody reads.
		return slog.String(a.Key, a.Value.Duration().String())
	}
	if err, ok := a.Value.Any().(error); ok {
		return slog.String(a.Key, Scrub(err.Error()))
	}
	if a.Key == slog.MessageKey || a.Key == "error" {
		return slog.String(a.Key, Scrub(a.Value.String()))
	}
	return a
}

// query finds the query part of a URL: Aliyun's calls carry phone and passcode
// there, and net/http quotes the URL in its errors.
var query = regexp.MustCompile(`\?[^\s"']*=[^\s"']*`)

// longDigits finds what may be a phone number.
var longDigits = regexp.MustCompile(`\+?\d{7,}`)

// Scrub masks URL queries and runs of seven and more digits.
func Scrub(text string) string {
	text = query.ReplaceAllString(text, "?****")
	return longDigits.ReplaceAllString(text, "****")
}
