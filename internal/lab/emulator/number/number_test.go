package number_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/number"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]number.Number{
		"13812345678":     {Received: "13812345678", Key: "13812345678"},
		"8613812345678":   {Received: "8613812345678", Key: "13812345678"},
		"+8613812345678":  {Received: "8613812345678", Key: "13812345678"},
		"008613812345678": {Received: "008613812345678", Key: "13812345678"},
		"18624017194":     {Received: "18624017194", Key: "18624017194"},
		"12025550123":     {Received: "12025550123", Key: "12025550123"},
		"85268326366":     {Received: "85268326366", Key: "85268326366"},
		"85362123456":     {Received: "85362123456", Key: "85362123456"},
		"886912345678":    {Received: "886912345678", Key: "886912345678"},
		"0085268326366":   {Received: "0085268326366", Key: "85268326366"},
	} {
		got, ok := number.Parse(in)
		assert.True(t, ok, in)
		assert.Equal(t, want, got, in)
	}
	for _, in := range []string{
		"", "+", "86", "8610012345678", "861381234567", "86138123456789", "1381234567", "138123456789",
		"11012345678", "10012345678", "138 1234 5678", "1381234567x", "１３８１２３４５６７８", "++13812345678",
		"123456", "1234567890123456", "000138123456", "0", "00", "-13812345678", " 13812345678", ",", "13812345678,",
	} {
		_, ok := number.Parse(in)
		assert.False(t, ok, in)
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"13812345678", "+8613812345678", "0085268326366", "8610012345678", "+"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, ok := number.Parse(s)
		if !ok {
			return
		}
		again, ok := number.Parse(n.Key)
		if !ok || again.Key != n.Key || again.Received != n.Key {
			t.Fatalf("the key of %q is %q, which reads as %+v", s, n.Key, again)
		}
		if strings.Trim(n.Received, "0123456789") != "" {
			t.Fatalf("%q is received as %q", s, n.Received)
		}
	})
}
