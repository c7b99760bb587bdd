// Package plain makes plain text of what came from outside: a producer, the
// broker or Aliyun may have written anything into it.
package plain

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text returns one line without what a terminal acts upon or doesn't show. Line
// breaks, tabs and control characters become spaces. Invisible characters go, such
// as U+202E, which turns the text behind it around, and zero-width spaces. What is
// no valid UTF-8 or no character becomes U+FFFD.
func Text(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case !Hidden(r):
			return r
		case unicode.In(r, unicode.Z, unicode.Cc):
			return ' '
		case unicode.In(r, unicode.Cf, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector):
			return -1
		default:
			return utf8.RuneError
		}
	}, text)
}

// Line is [Text] with single spaces and none at the ends.
func Line(text string) string { return strings.Join(strings.Fields(Text(text)), " ") }

// Hidden reports whether r has no place in a plain text: it can't be seen, a
// terminal acts upon it, or it is no character.
func Hidden(r rune) bool {
	return !unicode.IsPrint(r) || unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// Cut shortens a text to at most limit bytes of valid UTF-8, between characters.
// An ellipsis at the end tells that something is missing.
func Cut(text string, limit int) string {
	const ellipsis = "…"
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= limit {
		return text
	}
	end := max(limit-len(ellipsis), 0)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return strings.TrimRight(text[:end], " ") + ellipsis
}
