package command

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// started is the moment from which ages on the command line count.
var started = time.Now()

// TimeFlag is a point in time on the command line: RFC 3339, or how long ago. It is zero where none was given.
type TimeFlag struct{ time.Time }

// UnmarshalText reads a time.
func (f *TimeFlag) UnmarshalText(text []byte) error {
	if ago, err := time.ParseDuration(string(text)); err == nil && ago >= 0 {
		f.Time = started.Add(-ago)
		return nil
	}
	t, err := time.Parse(time.RFC3339, string(text))
	if err != nil || t.IsZero() {
		return errors.New("must be a time as RFC 3339 writes it (2026-11-22T03:04:05Z), or how long ago, without a sign (2h)")
	}
	f.Time = t
	return nil
}

// Pace is a rate on the command line: 500/s, 30/m, 1000/h.
type Pace float64 // a second

// UnmarshalText reads a pace.
func (p *Pace) UnmarshalText(text []byte) error {
	count, unit, found := strings.Cut(string(text), "/")
	n, err := strconv.ParseFloat(count, 64)
	per := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	if !found || err != nil || per == 0 || !(n > 0 && n <= 1e6) {
		return errors.New("must be a count and a unit of time, such as 500/s, 30/m or 1000/h")
	}
	*p = Pace(n / per.Seconds())
	return nil
}
