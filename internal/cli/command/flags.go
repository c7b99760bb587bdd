package command

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// TimeFlag is a point in time on the command line: RFC 3339, or how long ago.
type TimeFlag struct {
	time time.Time
	ago  time.Duration
	set  bool
}

// UnmarshalText reads a time.
func (m *TimeFlag) UnmarshalText(text []byte) error {
	if d, err := time.ParseDuration(string(text)); err == nil {
		if d < 0 {
			return errors.New("must be a time, or how long ago without a sign")
		}
		*m = TimeFlag{ago: d, set: true}
		return nil
	}
	t, err := time.Parse(time.RFC3339, string(text))
	// The first moment of the year 1 would stand for no time given, which picks
	// everything.
	if err != nil || t.IsZero() {
		return errors.New("must be a time as RFC 3339 writes it (2026-11-22T03:04:05Z), or how long ago (2h)")
	}
	*m = TimeFlag{time: t, set: true}
	return nil
}

// At is the time meant, zero where none was given.
func (m TimeFlag) At(now time.Time) time.Time {
	switch {
	case !m.set:
		return time.Time{}
	case m.time.IsZero():
		return now.Add(-m.ago)
	default:
		return m.time
	}
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
