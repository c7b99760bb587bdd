// Package text makes texts from outside fit to be stored, logged and shown.
package text

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Printable takes out of a text what a terminal would act upon or not show.
// Control characters and any white space become a space each. What has no width
// or turns the direction of writing goes. What is no UTF-8 becomes U+FFFD.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			return ' '
		case unicode.IsPrint(r):
			return r
		default:
			return -1
		}
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// Line makes one printable line of at most limit bytes, with single spaces between
// its words.
func Line(s string, limit int) string {
	return strings.TrimRight(Cut(strings.Join(strings.Fields(Printable(s)), " "), limit), " ")
}

// Cut shortens a text to at most limit bytes of whole characters. What is no UTF-8
// becomes U+FFFD.
func Cut(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:max(limit, 0)]
}
