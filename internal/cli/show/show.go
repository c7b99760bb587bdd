// Package show is how commands show things to people. What it is given may come from
// outside, so all of it is made printable.
package show

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/text"
)

// Width is what texts keep to, so that they fit the usual 80 columns.
const Width = 78

// Say writes a line as it is. Where it can't be written nobody is there to be told.
func Say(w io.Writer, format string, args ...any) {
	_, _ = fmt.Fprintf(w, format+"\n", args...)
}

// Line writes a line. Only the format may break it.
func Line(w io.Writer, format string, args ...any) { Say(w, format, printable(args)...) }

// Lines writes a text of several lines.
func Lines(w io.Writer, text string) {
	for line := range strings.Lines(text) {
		Line(w, "%s", strings.TrimRight(line, "\r\n"))
	}
}

// printable makes all but numbers printable texts.
func printable(args []any) []any {
	clean := make([]any, len(args))
	for i, arg := range args {
		switch kind := reflect.ValueOf(arg).Kind(); {
		case kind >= reflect.Bool && kind <= reflect.Float64:
			clean[i] = arg
		case kind == reflect.Slice && reflect.TypeOf(arg).Elem().Kind() == reflect.Uint8:
			clean[i] = text.Printable(fmt.Sprintf("%s", arg))
		default:
			clean[i] = text.Printable(fmt.Sprint(arg))
		}
	}
	return clean
}

// Page writes lines that begin with a name, with the texts in one column.
type Page struct {
	W     io.Writer
	Names int // how wide the column of the names is
	Now   time.Time
}

// Line writes a line.
func (p Page) Line(name, format string, args ...any) {
	Line(p.W, "%-*s "+format, append([]any{p.Names, name}, args...)...)
}

// If writes a line where it applies.
func (p Page) If(applies bool, name, format string, args ...any) {
	if applies {
		p.Line(name, format, args...)
	}
}

// Text writes a text, if there is one.
func (p Page) Text(name, text string) { p.If(text != "", name, "%s", text) }

// Time writes a time, if there is one, and how far off it is.
func (p Page) Time(name string, t time.Time) { p.If(!t.IsZero(), name, "%s", Moment(t, p.Now)) }

// Wrapped writes a text on as many lines as it needs.
func (p Page) Wrapped(text string) {
	for _, line := range Wrapped(text, Width-p.Names-1) {
		p.Line("", "%s", line)
	}
}

// alignedRows is how many rows are aligned with one another, and held in memory.
const alignedRows = 512

// Listing lists things, each as a row of a table or as one JSON object a line. A failed write shows in Flush.
type Listing struct {
	out      *bufio.Writer
	json     *json.Encoder // nil: a table
	table    *tabwriter.Writer
	headings []any
	rows     int
	err      error
}

// NewListing returns a listing; its headings are written before the first row.
func NewListing(w io.Writer, asJSON bool, headings ...any) *Listing {
	l := &Listing{out: bufio.NewWriter(w), headings: headings}
	l.table = tabwriter.NewWriter(l.out, 0, 0, 2, ' ', 0)
	if asJSON {
		l.json = JSONLines(l.out)
	}
	return l
}

// Add lists an object, whose row has these cells.
func (l *Listing) Add(object any, cells ...any) {
	if l.json != nil {
		l.err = cmp.Or(l.err, l.json.Encode(object))
	}
	l.Row(cells...)
}

// Row adds a row to a table, nothing to JSON.
func (l *Listing) Row(cells ...any) {
	if l.json != nil {
		return
	}
	if l.rows == 0 && len(l.headings) > 0 {
		l.row(l.headings)
	}
	l.row(cells)
	if l.rows++; l.rows%alignedRows == 0 {
		_ = l.table.Flush()
	}
}

func (l *Listing) row(cells []any) {
	fmt.Fprintln(l.table, strings.TrimSuffix(fmt.Sprintf(strings.Repeat("%v\t", len(cells)), printable(cells)...), "\t"))
}

// Flush writes what is left.
func (l *Listing) Flush() error { return errors.Join(l.err, l.table.Flush(), l.out.Flush()) }

// JSONLines writes one object a line. What a terminal would act upon is escaped.
func JSONLines(w io.Writer) *json.Encoder {
	out := json.NewEncoder(text.EscapeJSON(w))
	out.SetEscapeHTML(false)
	return out
}

// IsTerminal reports whether somebody sits at the other end of a stream.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Wrapped breaks a text into lines at its spaces.
func Wrapped(text string, width int) []string {
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

// CountOf is a number of things: "1 dead letter", "2500 dead letters".
func CountOf(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

// JobsWait is how many jobs wait.
func JobsWait(n uint64) string {
	if n == 1 {
		return "1 job waits"
	}
	return strconv.FormatUint(n, 10) + " jobs wait"
}

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
