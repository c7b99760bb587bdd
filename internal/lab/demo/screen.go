package demo

import (
	"fmt"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// begin opens a scene.
func (st *stage) begin(sc scene) {
	st.began = time.Now()
	st.Line("\n%s", st.Paint(show.Bold, "▸ "+sc.path+": ")+sc.story)
}

// state shows one state of a request, and why it ends with an error.
func (st *stage) state(r passcode.Result) {
	st.step(r.Status, detail(r))
	if !r.Final || r.Error == nil {
		return
	}
	for _, line := range show.Wrapped(r.Error.Message, show.Width-8) {
		st.Line("        %s", st.Paint(show.Dim, line))
	}
}

// step shows what a request came to, and when.
func (st *stage) step(status passcode.Status, detail string) {
	if detail != "" {
		detail = st.Paint(show.Dim, " ("+detail+")")
	}
	st.Line("  %6.2fs  %s%s", time.Since(st.began).Seconds(), st.Paint(show.StatusColour(status), string(status)), detail)
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
