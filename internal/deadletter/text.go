package deadletter

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// oneLine makes a header value of any text: valid UTF-8, no line breaks or other
// control characters (they would end the header and begin another), single
// spaces, at most limit bytes.
func oneLine(text string, limit int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > limit {
		for limit > 0 && !utf8.RuneStart(text[limit]) {
			limit--
		}
		text = strings.TrimRight(text[:limit], " ")
	}
	return text
}

var traceParent = regexp.MustCompile(`^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$`)

// saneTraceParent follows W3C Trace Context: version ff and ids of zeros alone
// are not valid.
func saneTraceParent(value string) bool {
	return traceParent.MatchString(value) && !strings.HasPrefix(value, "ff-") &&
		!strings.Contains(value, "-"+strings.Repeat("0", 32)+"-") &&
		!strings.Contains(value, "-"+strings.Repeat("0", 16)+"-")
}

// saneTraceState keeps what is printable and not over long; its inner grammar is
// for those who read it.
func saneTraceState(value string) bool {
	notPrintable := func(r rune) bool { return r < ' ' || r > '~' }
	return value != "" && len(value) <= maxStateBytes && strings.TrimSpace(value) == value &&
		!strings.ContainsFunc(value, notPrintable)
}
