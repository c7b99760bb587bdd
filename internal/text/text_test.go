package text_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/text"
)

func TestLine(t *testing.T) {
	t.Parallel()
	for from, want := range map[string]string{
		"":                            "",
		" one \r\n\r\n two\t":         "one two",
		" a\nnew\t template\x1b[2J ":  "a new template [2J",
		"触发\u2028流控\u0085\x1b[2J":     "触发 流控 [2J",
		"evil\u202Egnp.exe\u2066":     "evilgnp.exe",
		"zero\u200bwidth\ufeff":       "zerowidth",
		"no \xff UTF-8":               "no \uFFFD UTF-8",
		"tag\U000E0041\u034F ☎\uFE0F": "tag ☎",
		"\u3164filler\u115F":          "filler",
		"naïve e\u0301 😀":             "naïve e\u0301 😀",
		strings.Repeat("短", 20):       strings.Repeat("短", 10),
		strings.Repeat("12 ", 20):     "12 12 12 12 12 12 12 12 12 12",
	} {
		assert.Equal(t, want, text.Line(from, 30), "%q", from)
	}
}

// TestPrintableHidesAllFormats: nothing of Unicode's control, format and separator
// categories passes.
func TestPrintableHidesAllFormats(t *testing.T) {
	t.Parallel()
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if r == ' ' || !unicode.In(r, unicode.C, unicode.Zl, unicode.Zp, unicode.Zs) {
			continue
		}
		if got := text.Printable("a" + string(r) + "b"); got != "ab" && got != "a b" && got != "a\uFFFDb" {
			require.Fail(t, "passed", "%U as %q", r, got)
		}
	}
}

func TestCut(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "短", text.Cut("短信", 5))
	assert.Equal(t, "短信", text.Cut("短信", 6))
	assert.Empty(t, text.Cut("短信", 2))
	assert.Equal(t, "a ", text.Cut("a b", 2), "spaces stay")
}

func FuzzLine(f *testing.F) {
	f.Add("a\r\nb", 10)
	f.Add(" 短信\xff\u2028\u202e ", 5)
	f.Add("\u202e \u2028\x00", 1)
	f.Fuzz(func(t *testing.T, from string, limit int) {
		line := text.Line(from, limit)
		for _, got := range []string{line, text.Cut(from, limit)} {
			assert.LessOrEqual(t, len(got), max(limit, 0))
			assert.True(t, utf8.ValidString(got))
		}
		assert.False(t, strings.ContainsFunc(line, text.Hidden), "%q", line)
		assert.Equal(t, strings.TrimSpace(line), line)
		assert.Equal(t, line, text.Line(line, limit), "once is enough")
	})
}
