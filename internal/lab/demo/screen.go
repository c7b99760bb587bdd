package demo

import (
	"fmt"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// screen shows the demo, a line for each state of a request.
type screen struct {
	*show.Screen
	began time.Time // the scene
}

// begin opens a scene.
func (s *screen) begin(sc scene) {
	s.began = time.Now()
	s.Line("\n%s", s.Paint(show.Bold, "▸ "+sc.path+": ")+sc.story)
}

// state shows one state of a request, and why it ends with an error.
func (s *screen) state(r passcode.Result) {
	s.step(r.Status, detail(r))
	if !r.Final || r.Error == nil {
		return
	}
	for _, line := range show.Wrapped(r.Error.Message, show.Width-8) {
		s.Line("        %s", s.Paint(show.Dim, line))
	}
}

// step shows what a request came to, and when.
func (s *screen) step(status passcode.Status, detail string) {
	if detail != "" {
		detail = s.Paint(show.Dim, " ("+detail+")")
	}
	s.Line("  %6.2fs  %s%s", time.Since(s.began).Seconds(), s.Paint(show.StatusColour(status), string(status)), detail)
}

// detail is what a state says besides its name.
func detail(r passcode.Result) string {
	if !r.LookupBeganAt.IsZero() {
		return "asking Aliyun"
	}
	var parts []string
	add := func(applies bool, format string, args ...any) {
		if applies {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(r.Status == passcode.StatusSending && r.Attempts > 1, "attempt %d", r.Attempts)
	add(r.Duplicate, "duplicate")
	add(r.Recovered, "recovered by look-up")
	add(r.BizID != "" && !r.Duplicate, "BizId %s", r.BizID)
	if r.Error != nil {
		parts = append(parts, r.Error.Code)
	}
	add(r.RetryAfterSeconds > 0, "retry after %ds", r.RetryAfterSeconds)
	add(!r.NextAttemptAt.IsZero(), "again in %s", r.NextAttemptAt.Sub(r.UpdatedAt).Round(10*time.Millisecond))
	return strings.Join(parts, ", ")
}
