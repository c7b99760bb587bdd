package consumer

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// A producer's header, which could end the count of replays: its dead letter would
// then pass as replayed before, and be removed.
func TestReplaysOf(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]int{
		"": 0, "1": 1, "1000000": domain.MaxReplays, "1000001": 0, "-1": 0, "x": 0, "1.5": 0, " 1": 0,
		"9223372036854775807": 0, "99999999999999999999": 0, "-99999999999999999999": 0,
	} {
		assert.Equal(t, want, replaysOf(header), header)
	}
}

func FuzzReplaysOf(f *testing.F) {
	f.Add("1")
	f.Add("99999999999999999999")
	f.Fuzz(func(t *testing.T, header string) {
		n := replaysOf(header)
		if n < 0 || n > domain.MaxReplays {
			t.Fatal(n)
		}
		if n > 0 && replaysOf(strconv.Itoa(n)) != n {
			t.Fatalf("%d is not read back", n)
		}
	})
}
