package plain

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                           "",
		"触发分钟级流控Permits:1":           "触发分钟级流控Permits:1",
		"naïve e\u0301 ☎ 😀":          "naïve e\u0301 ☎ 😀",
		"a\u202Egnp.exe":             "agnp.exe",            // right-to-left override
		"a\u2066b\u2069c\u200Ed":     "abcd",                // isolates and marks
		"pass\u200Bco\u200Dde\uFEFF": "passcode",            // zero-width
		"so\u00ADft":                 "soft",                // soft hyphen
		"tag\U000E0041\u034F":        "tag",                 // tags, joiner
		"☎\uFE0F\u3164\u115F":        "☎",                   // variation selector, fillers
		"a\nb\r\tc\x00d\x7fe\u0085f": "a b  c d e f",        // C0, DEL, C1
		"red\x1b[31m\u009b0m":        "red [31m 0m",         // escape sequences
		"a\u2028b\u2029c\u00a0d":     "a b c d",             // separators, no-break space
		"x\xff\ue000\U0010FFFF":      "x\uFFFD\uFFFD\uFFFD", // invalid, private, no character
	} {
		assert.Equal(t, want, Text(text), "%q", text)
	}
	assert.Equal(t, "a b", Line(" a\n\u200b\tb "))
}

// TestTextHidesAllFormats: nothing of Unicode's control, format and separator
// categories passes.
func TestTextHidesAllFormats(t *testing.T) {
	t.Parallel()
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if r == ' ' || !unicode.In(r, unicode.C, unicode.Zl, unicode.Zp, unicode.Zs) {
			continue
		}
		if got := Text("a" + string(r) + "b"); got != "ab" && got != "a b" && got != "a\uFFFDb" {
			require.Fail(t, "passed", "%U as %q", r, got)
		}
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "whole", Cut("whole", 5))
	assert.Equal(t, "wh…", Cut("wholes", 5))
	assert.Equal(t, "触…", Cut("触发分钟", 8))
	assert.Equal(t, "a…", Cut("a bcde", 5))
	assert.Equal(t, "…", Cut("触发", 4))
}

func FuzzText(f *testing.F) {
	f.Add("a\u202Eb\xff\n", 3)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		out := Text(text)
		require.True(t, utf8.ValidString(out))
		require.False(t, strings.ContainsFunc(out, Hidden), "%q", out)
		require.Equal(t, out, Text(out))
		limit = 3 + max(limit%1000, 0)
		short := Cut(text, limit)
		require.LessOrEqual(t, len(short), limit)
		require.True(t, utf8.ValidString(short))
		require.Equal(t, short, Cut(short, limit))
	})
}
