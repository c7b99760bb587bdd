// Package text makes texts from outside fit to be stored, logged and shown.
package text

import (
	"strings"
	"unicode"
)

// Printable removes from a text what a terminal would act upon or not show. Control characters and any white space
// become a space each. Characters without a width, or that turn the direction of writing (U+202E and its kind), are
// dropped. Invalid UTF-8 becomes U+FFFD.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			return ' '
		case Hidden(r):
			return -1
		default:
			return r
		}
	}, strings.ToValidUTF8(s, "\uFFFD"))
}

// Hidden reports whether r has no place in a printable text: it can't be seen, or a terminal acts upon it.
func Hidden(r rune) bool {
	return !unicode.IsPrint(r) || unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// Line makes one printable line of at most limit bytes, with single spaces between its words.
func Line(s string, limit int) string {
	return strings.TrimRight(Cut(strings.Join(strings.Fields(Printable(s)), " "), limit), " ")
}

// Cut shortens a text to at most limit bytes of whole characters. What is no UTF-8 becomes U+FFFD.
func Cut(s string, limit int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:max(limit, 0)], "") // without half a character at its end
	}
	return s
}
