package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// screen shows the demo: in colour, with states appearing one after the other on
// a line, where it is a terminal; otherwise as plain lines.
type screen struct {
	w        io.Writer
	terminal bool
	began    time.Time
	// column is how far the line of states has come, on a terminal.
	column int
}

// width is what the lines keep to, so that they fit the usual 80 columns.
const width = 78

func newScreen(w io.Writer) *screen {
	return &screen{w: w, terminal: takesColours(w)}
}

// takesColours reports whether w shows on a terminal that takes colours.
func takesColours(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
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
	s.line("%s", s.paint(dim, "NATS at "+st.embedded.URL()+" · emulated Aliyun at http://"+st.endpoint))
}

// begin opens a scene.
func (s *screen) begin(sc scene) {
	s.began, s.column = time.Now(), 0
	s.line("\n%s", s.paint(bold, "▸ "+sc.path+": ")+sc.story)
}

// state shows one state of a request as it comes, and where it ends with an
// error, why.
func (s *screen) state(r passcode.Result) {
	s.step(string(r.Status), colourOf(r.Status), detail(r))
	if !r.Final || r.Error == nil {
		return
	}
	s.end()
	for _, line := range wrapped(r.Error.Message, width-8) {
		s.line("        %s", s.paint(dim, line))
	}
}

// note shows something that happens between two states.
func (s *screen) note(text string) { s.step(text, red, "") }

// step adds to what happened. On a terminal the steps stand on one line as long
// as they fit.
func (s *screen) step(text, colour, detail string) {
	painted := s.paint(colour, text) + s.paint(dim, detail)
	if !s.terminal {
		s.line("  %6.2fs  %s", time.Since(s.began).Seconds(), painted)
		return
	}
	long := utf8.RuneCountInString(text + detail)
	lead := s.paint(dim, " → ")
	switch {
	case s.column == 0:
		lead, s.column = "  ", 2
	case s.column+3+long > width:
		lead, s.column = "\n    "+s.paint(dim, "→ "), 6
	default:
		s.column += 3
	}
	s.column += long
	_, _ = fmt.Fprint(s.w, lead+painted)
}

// wrapped breaks a text into lines at its spaces.
func wrapped(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// progress shows how far many jobs have come.
func (s *screen) progress(done, all int) {
	if s.terminal {
		s.column = width
		_, _ = fmt.Fprintf(s.w, "\r  %s %d of %d", strings.Repeat("█", 30*done/all)+strings.Repeat("░", 30-30*done/all), done, all)
		return
	}
	if done%max(all/4, 1) == 0 {
		s.line("  %6.2fs  %d of %d sent", time.Since(s.began).Seconds(), done, all)
	}
}

// end closes the line of steps, if one is open.
func (s *screen) end() {
	if s.column > 0 {
		s.line("")
	}
	s.column = 0
}

func (s *screen) failure(err error) {
	s.end()
	s.line("  %s %v", s.paint(red, "✗"), err)
}

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
	s.line("\n%s", s.paint(bold, fmt.Sprintf(layout, "PATH", "STATUS", "ATTEMPTS", "DETAIL")))
	for _, r := range rows {
		why := r.extra
		if why == "" {
			why = strings.Trim(detail(r.result), " ()")
		}
		// Padded before it is painted, for colours take no room.
		status := s.paint(colourOf(r.result.Status), fmt.Sprintf("%-14s", r.result.Status))
		s.line("%-23s %s %8d  %s", r.path, status, r.result.Attempts, why)
	}
}

func (s *screen) totals(accepted, twice, lines, leaks int) {
	s.line("\n%s requests sent by Aliyun, %s of them twice.", s.paint(bold, fmt.Sprint(accepted)), s.paint(bold, fmt.Sprint(twice)))
	s.line("%s lines of worker log, %s passcodes or whole numbers in them.", s.paint(bold, fmt.Sprint(lines)), s.paint(bold, fmt.Sprint(leaks)))
}

// stay tells how to use what goes on serving.
func (s *screen) stay(st *stage) {
	s.line("\nStill serving. Try, in another terminal:")
	s.line("  nats -s %s sub 'passcode.result.>'", st.embedded.URL())
	s.line("  nats -s %s pub passcode.send '{\"request_id\":\"a1\",\"phone\":\"+85268326366\",\"code\":\"004213\"}'", st.embedded.URL())
	s.line("  curl http://%s/_/sent", st.endpoint)
	s.line("Ctrl-C ends it.")
}
