package show

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

func TestMoment(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		0:                       "2026-11-22 12:00:00 UTC, now",
		1500 * time.Millisecond: "2026-11-22 12:00:01 UTC, in 1.5s",
		-42 * time.Second:       "2026-11-22 11:59:18 UTC, 42s ago",
		-90 * time.Minute:       "2026-11-22 10:30:00 UTC, 1h30m ago",
		49 * time.Hour:          "2026-11-24 13:00:00 UTC, in 49h",
	} {
		assert.Equal(t, want, Moment(noon.Add(d), noon))
	}
}

func TestSpan(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", 59 * time.Second: "59s", -90 * time.Second: "1m", 59 * time.Minute: "59m",
		47 * time.Hour: "47h", 49 * time.Hour: "2d",
	} {
		assert.Equal(t, want, Span(d))
	}
}
