package phone

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/nyaruka/phonenumbers"
	"github.com/stretchr/testify/assert"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// byLibrary is what libphonenumber says of digits that begin with a country code: their canonical form, empty for none.
func byLibrary(digits string) string {
	number, err := phonenumbers.Parse("+"+digits, anyRegion)
	if err != nil || !phonenumbers.IsValidNumber(number) {
		return ""
	}
	if canonical := phonenumbers.Format(number, phonenumbers.E164); number.GetCountryCode() != mainlandCode || Mainland(passcode.NewPhone(canonical)) {
		return canonical
	}
	return ""
}

// TestMainlandIsLibphonenumber: what was learned of a prefix is what the library says of every number with it.
func TestMainlandIsLibphonenumber(t *testing.T) {
	t.Parallel()
	same := func(t *testing.T, digits string) {
		t.Helper()
		want := byLibrary(digits)
		canonical, _ := Parser{Strict: true}.Parse(passcode.NewPhone("+" + digits))
		if assert.Equal(t, want, canonical.Reveal()) && want != "" {
			canonical, _ = Parser{}.Parse(passcode.NewPhone(digits[2:]))
			assert.Equal(t, want, canonical.Reveal())
		}
	}
	t.Run("every prefix", func(t *testing.T) {
		t.Parallel()
		for prefix := 3000; prefix < 10_000; prefix++ {
			for _, tail := range []int{0, rand.IntN(1_000_000)} {
				same(t, fmt.Sprintf("861%04d%06d", prefix, tail))
			}
		}
	})
	t.Run("a million others", func(t *testing.T) {
		t.Parallel()
		longest := int64(1_000_000)
		for i := range int64(1_000_000) {
			if i%100_000 == 0 {
				longest *= 10
			}
			if digits := fmt.Sprint(rand.Int64N(longest)); validMainland(digits) {
				same(t, "86"+digits)
			}
		}
	})
}
