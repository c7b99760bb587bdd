package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// screen shows the demo: in colour, with states appearing one after the other on
// a line, where it is a terminal; otherwise as plain lines.
type screen struct {
	w        io.Writer
	terminal bool
	began    time.Time
	states   int
}

func newScreen(w io.Writer) *screen {
	return &screen{w: w, terminal: isTerminal(w)}
}

// isTerminal reports whether w shows on a terminal that takes colours.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok || os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// The colours of a terminal.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
)

func (s *screen) paint(colour, text string) string {
	if !s.terminal {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

func (s *screen) line(format string, args ...any) { say(s.w, format, args...) }

func (s *screen) intro(st *stage) {
	s.line("%s", s.paint(bold, "passcode-worker demo"))
	s.line("%s", s.paint(dim, "a NATS server at "+st.embedded.URL()+", an emulated Aliyun at http://"+st.endpoint+", a worker in a process of its own"))
}

// begin opens a scene.
func (s *screen) begin(sc scene) {
	s.began, s.states = time.Now(), 0
	s.line("\n%s %s", s.paint(bold, "▸ "+sc.path+":"), sc.story)
	if s.terminal {
		_, _ = fmt.Fprint(s.w, "  ")
	}
}

// state shows one state of a request as it comes.
func (s *screen) state(r passcode.Result) {
	text := s.paint(colourOf(r.Status), string(r.Status)) + s.paint(dim, detail(r))
	s.states++
	if !s.terminal {
		s.line("  %6.2fs  %s", time.Since(s.began).Seconds(), text)
		return
	}
	if s.states > 1 {
		text = s.paint(dim, " → ") + text
	}
	_, _ = fmt.Fprint(s.w, text)
}

// note shows something that happens between two states.
func (s *screen) note(text string) {
	if !s.terminal {
		s.line("  %6.2fs  (%s)", time.Since(s.began).Seconds(), text)
		return
	}
	_, _ = fmt.Fprint(s.w, s.paint(dim, " → ")+s.paint(red, text))
}

// progress shows how far many jobs have come.
func (s *screen) progress(done, all int) {
	if s.terminal {
		_, _ = fmt.Fprintf(s.w, "\r  %s %d of %d", strings.Repeat("█", 30*done/all)+strings.Repeat("░", 30-30*done/all), done, all)
		return
	}
	if done%max(all/4, 1) == 0 {
		s.line("  %6.2fs  %d of %d sent", time.Since(s.began).Seconds(), done, all)
	}
}

// end closes a scene.
func (s *screen) end() {
	if s.terminal {
		s.line("%s", s.paint(dim, fmt.Sprintf("  (%.1fs)", time.Since(s.began).Seconds())))
	}
}

func (s *screen) failure(err error) { s.line("\n  %s %v", s.paint(red, "✗"), err) }

func colourOf(status passcode.Status) string {
	switch {
	case status == passcode.StatusSent || status == passcode.StatusDelivered:
		return green
	case status.Final():
		return yellow
	default:
		return bold
	}
}

// detail is what a state says besides its name.
func detail(r passcode.Result) string {
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
	if r.BizID != "" {
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
	const layout = "%-24s %-16s %-14s %8s  %s"
	s.line("\n%s", s.paint(bold, fmt.Sprintf(layout, "PATH", "REQUEST", "STATUS", "ATTEMPTS", "WHY")))
	for _, r := range rows {
		reason := r.extra
		switch {
		case reason != "":
		case r.result.Error != nil:
			reason = r.result.Error.Message
		case r.result.Recovered:
			reason = "found by look-up, not sent again"
		default:
			reason = "BizId " + r.result.BizID
		}
		// Padded before it is painted, for colours take no room.
		status := s.paint(colourOf(r.result.Status), fmt.Sprintf("%-14s", r.result.Status))
		id := r.result.RequestID
		if len(id) > 16 {
			id = id[:15] + "…"
		}
		s.line("%-24s %-16s %s %8d  %s", r.path, id, status, r.result.Attempts, reason)
	}
}

func (s *screen) totals(accepted, twice, lines, leaks int) {
	s.line("\n%s requests sent by Aliyun, %s of them twice; %s lines of worker log, %s passcodes or whole numbers in them",
		s.paint(bold, fmt.Sprint(accepted)), s.paint(bold, fmt.Sprint(twice)), s.paint(bold, fmt.Sprint(lines)), s.paint(bold, fmt.Sprint(leaks)))
}

// stay tells how to use what goes on serving.
func (s *screen) stay(st *stage) {
	s.line("\nStill serving. Try, in another terminal:")
	s.line("  nats -s %s sub 'passcode.result.>'", st.embedded.URL())
	s.line("  nats -s %s pub passcode.send '{\"request_id\":\"a1\",\"phone\":\"+85268326366\",\"code\":\"004213\"}'", st.embedded.URL())
	s.line("  curl http://%s/_/sent", st.endpoint)
	s.line("Ctrl-C ends it.")
}
