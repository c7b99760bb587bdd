package demo

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// screen shows the demo: on a terminal in colour, with the states of a request on one
// line; otherwise as plain lines.
type screen struct {
	*show.Screen
	began  time.Time
	column int // how far the line of states has come, on a terminal
}

func newScreen(w io.Writer) *screen { return &screen{Screen: show.NewScreen(w)} }

func (s *screen) intro(st *stage) {
	s.Line("%s", s.Paint(show.Bold, "passcode-worker demo"))
	s.Line("%s", s.Paint(show.Dim, "NATS at "+st.NATS+" · emulated Aliyun at "+st.Admin.URL))
}

// begin opens a scene.
func (s *screen) begin(sc scene) {
	s.began, s.column = time.Now(), 0
	s.Line("\n%s", s.Paint(show.Bold, "▸ "+sc.path+": ")+sc.story)
}

// state shows one state of a request, and why it ends with an error.
func (s *screen) state(r passcode.Result) {
	s.step(string(r.Status), show.StatusColour(r.Status), detail(r))
	if !r.Final || r.Error == nil {
		return
	}
	s.end()
	for _, line := range show.Wrapped(r.Error.Message, show.Width-8) {
		s.Line("        %s", s.Paint(show.Dim, line))
	}
}

// note shows something that happens between two states.
func (s *screen) note(text string) { s.step(text, show.Red, "") }

// step shows what happened, on a terminal in the same line if it fits.
func (s *screen) step(text, colour, detail string) {
	painted := s.Paint(colour, text) + s.Paint(show.Dim, detail)
	if !s.Terminal {
		s.Line("  %6.2fs  %s", time.Since(s.began).Seconds(), painted)
		return
	}
	long := utf8.RuneCountInString(text + detail)
	lead := s.Paint(show.Dim, " → ")
	switch {
	case s.column == 0:
		lead, s.column = "  ", 2
	case s.column+3+long > show.Width:
		lead, s.column = "\n    "+s.Paint(show.Dim, "→ "), 6
	default:
		s.column += 3
	}
	s.column += long
	_, _ = fmt.Fprint(s.W, lead+painted)
}

// progress shows how far many jobs have come.
func (s *screen) progress(done, all int) {
	if s.Terminal {
		s.column = show.Width
		_, _ = fmt.Fprintf(s.W, "\r  %s %d of %d", show.Bar(float64(done)/float64(all), 30), done, all)
		return
	}
	if done%max(all/4, 1) == 0 {
		s.Line("  %6.2fs  %d of %d sent", time.Since(s.began).Seconds(), done, all)
	}
}

// end closes the line of steps, if one is open.
func (s *screen) end() {
	if s.column > 0 {
		s.Line("")
	}
	s.column = 0
}

func (s *screen) failure(err error) {
	s.end()
	s.Line("  %s %v", s.Paint(show.Red, "✗"), err)
}

// detail is what a state says besides its name.
func detail(r passcode.Result) string {
	if !r.LookupBeganAt.IsZero() {
		return " (asking Aliyun)"
	}
	var parts []string
	if r.Status == passcode.StatusSending && r.Attempts > 1 {
		parts = append(parts, fmt.Sprintf("attempt %d", r.Attempts))
	}
	if r.Duplicate {
		parts = append(parts, "duplicate")
	}
	if r.Recovered {
		parts = append(parts, "recovered by look-up")
	}
	if r.BizID != "" && !r.Duplicate {
		parts = append(parts, "BizId "+r.BizID)
	}
	if r.Error != nil {
		parts = append(parts, r.Error.Code)
	}
	if r.RetryAfterSeconds > 0 {
		parts = append(parts, fmt.Sprintf("retry after %ds", r.RetryAfterSeconds))
	}
	if !r.NextAttemptAt.IsZero() {
		wait := r.NextAttemptAt.Sub(r.UpdatedAt).Round(10 * time.Millisecond)
		parts = append(parts, "again in "+wait.String())
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// table shows what became of each scene's request.
func (s *screen) table(rows []row) {
	const layout = "%-23s %-14s %8s  %s"
	s.Line("\n%s", s.Paint(show.Bold, fmt.Sprintf(layout, "PATH", "STATUS", "ATTEMPTS", "DETAIL")))
	for _, r := range rows {
		why := cmp.Or(r.extra, strings.Trim(detail(r.result), " ()"))
		// Padded before it is painted, for colours take no width.
		status := s.Paint(show.StatusColour(r.result.Status), fmt.Sprintf("%-14s", r.result.Status))
		s.Line("%-23s %s %8d  %s", r.path, status, r.result.Attempts, why)
	}
}

func (s *screen) totals(accepted, twice, lines, leaks int) {
	bold := func(n int) string { return s.Paint(show.Bold, strconv.Itoa(n)) }
	s.Line("\n%s requests sent by Aliyun, %s of them twice.", bold(accepted), bold(twice))
	s.Line("%s lines of worker log, %s passcodes or whole numbers in them.", bold(lines), bold(leaks))
}

// stay tells how to use what goes on serving.
func (s *screen) stay(st *stage) {
	s.Line("\nStill serving. Try, in another terminal:")
	s.Line("  nats -s %s sub 'passcode.result.>'", st.NATS)
	s.Line("  nats -s %s pub passcode.send '{\"request_id\":\"a1\",\"phone\":\"+85268326366\",\"code\":\"004213\"}'", st.NATS)
	s.Line("  curl %s/_/sent", st.Admin.URL)
	s.Line("Ctrl-C ends it.")
}
