package show

import (
	"io"
	"os"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// Screen writes lines, in colour where it is a terminal that takes colours.
type Screen struct {
	W        io.Writer
	Terminal bool
}

// NewScreen shows on w.
func NewScreen(w io.Writer) *Screen {
	return &Screen{W: w, Terminal: IsTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"}
}

// The colours of a terminal.
const (
	Bold   = "1"
	Dim    = "2"
	Red    = "31"
	Green  = "32"
	Yellow = "33"
)

// Paint colours a text.
func (s *Screen) Paint(colour, text string) string {
	if !s.Terminal {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// Line writes a line.
func (s *Screen) Line(format string, args ...any) { Say(s.W, format, args...) }

// StatusColour is the colour of a request's status.
func StatusColour(status passcode.Status) string {
	switch {
	case status == passcode.StatusSent || status == passcode.StatusDelivered:
		return Green
	case status.Final():
		return Yellow
	default:
		return Bold
	}
}
