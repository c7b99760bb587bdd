package main

import (
	"fmt"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// stamp writes a time for people, to the second.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// moment writes a time with how far off it is.
func moment(t, now time.Time) string {
	switch d := t.Sub(now); {
	case d >= time.Second:
		return stamp(t) + ", in " + roughly(d)
	case d <= -time.Second:
		return stamp(t) + ", " + roughly(-d) + " ago"
	default:
		return stamp(t) + ", now"
	}
}

// roughly writes a duration with no more detail than helps.
func roughly(d time.Duration) string {
	switch {
	case d < time.Second:
		d = d.Round(time.Millisecond)
	case d < 10*time.Second:
		d = d.Round(100 * time.Millisecond)
	case d < time.Hour:
		d = d.Round(time.Second)
	default:
		d = d.Round(time.Minute)
	}
	return domain.FormatDuration(d)
}

// span writes a duration in its largest unit alone, for the columns of a table:
// "45s", "12m", "3h", "2d".
func span(d time.Duration) string {
	switch d = d.Abs(); {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}
