package text

import (
	"bytes"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// EscapeJSON returns a writer for lines of JSON that escapes what can't be shown or a terminal would act upon,
// which is the same JSON. Each Write must hold whole characters.
func EscapeJSON(w io.Writer) io.Writer { return escaper{w} }

type escaper struct{ w io.Writer }

// In JSON such a character stands in strings alone. Below 0x20 it is escaped already.
func escaped(r rune) bool { return r == 0x7f || r >= utf8.RuneSelf && Hidden(r) }

func (e escaper) Write(p []byte) (int, error) {
	if !bytes.ContainsFunc(p, escaped) {
		return e.w.Write(p)
	}
	var b bytes.Buffer
	for _, r := range string(p) {
		if !escaped(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.AppendRune(nil, r) { // one above U+FFFF takes two
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	_, err := e.w.Write(b.Bytes())
	return len(p), err
}
