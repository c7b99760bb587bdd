package emulator

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestParseNumber(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]number{
		"13812345678":     {"13812345678", "13812345678"},
		"8613812345678":   {"8613812345678", "13812345678"},
		"+8613812345678":  {"8613812345678", "13812345678"},
		"008613812345678": {"008613812345678", "13812345678"},
		"18624017194":     {"18624017194", "18624017194"},
		"12025550123":     {"12025550123", "12025550123"},
		"85268326366":     {"85268326366", "85268326366"},
		"85362123456":     {"85362123456", "85362123456"},
		"886912345678":    {"886912345678", "886912345678"},
		"0085268326366":   {"0085268326366", "85268326366"},
	} {
		got, ok := parseNumber(in)
		assert.True(t, ok, in)
		assert.Equal(t, want, got, in)
	}
	for _, in := range []string{
		"", "+", "86", "8610012345678", "861381234567", "86138123456789", "1381234567", "138123456789",
		"11012345678", "10012345678", "138 1234 5678", "1381234567x", "１３８１２３４５６７８", "++13812345678",
		"123456", "1234567890123456", "000138123456", "0", "00", "-13812345678", " 13812345678",
	} {
		_, ok := parseNumber(in)
		assert.False(t, ok, in)
	}
}

func TestParseNumbers(t *testing.T) {
	t.Parallel()
	got, ok := parseNumbers("13812345678,85268326366")
	assert.True(t, ok)
	assert.Len(t, got, 2)
	for _, in := range []string{"", ",", "13812345678,", ",13812345678", "13812345678;13812345679", "13812345678, 13812345679"} {
		_, ok := parseNumbers(in)
		assert.False(t, ok, in)
	}
}

func FuzzParseNumber(f *testing.F) {
	for _, seed := range []string{"13812345678", "+8613812345678", "0085268326366", "8610012345678", "+"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, ok := parseNumber(s)
		if !ok {
			return
		}
		again, ok := parseNumber(n.key)
		if !ok || again.key != n.key || again.received != n.key {
			t.Fatalf("the key of %q is %q, which reads as %+v", s, n.key, again)
		}
		if strings.Trim(n.received, "0123456789") != "" {
			t.Fatalf("%q is received as %q", s, n.received)
		}
	})
}
