package show

import (
	"fmt"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// Stamp writes a time for people, to the second.
func Stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// Moment writes a time with how far off it is.
func Moment(t, now time.Time) string {
	switch d := t.Sub(now); {
	case d >= time.Second:
		return Stamp(t) + ", in " + Roughly(d)
	case d <= -time.Second:
		return Stamp(t) + ", " + Roughly(-d) + " ago"
	default:
		return Stamp(t) + ", now"
	}
}

// Roughly writes a duration with no more detail than helps.
func Roughly(d time.Duration) string {
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

// Span writes a duration in its largest unit alone: "45s", "12m", "3h", "2d".
func Span(d time.Duration) string {
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
