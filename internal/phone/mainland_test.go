package phone

import (
	"fmt"
	"math/rand/v2"
	"os"
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
	const prefixes = 7000
	each := 3
	if os.Getenv("TEST_ALL") != "" {
		each = 20
	}
	same := func(t *testing.T, digits string) {
		t.Helper()
		for _, text := range []string{digits, "+" + digits} {
			canonical, _ := Parser{Strict: true}.Parse(passcode.NewPhone(text))
			if want := byLibrary(digits); canonical.Reveal() != want {
				t.Errorf("%s: %q, the library says %q", text, canonical.Reveal(), want)
			}
		}
		if national := digits[2:]; looksMainland(national) {
			canonical, _ := Parser{}.Parse(passcode.NewPhone(national))
			want := byLibrary(digits)
			if want == "" { // then it begins with a country code
				want = byLibrary(national)
			}
			assert.Equal(t, want, canonical.Reveal(), national)
		}
	}
	t.Run("every prefix", func(t *testing.T) {
		t.Parallel()
		for prefix := range prefixes {
			same(t, fmt.Sprintf("861%04d000000", 3000+prefix))
			same(t, fmt.Sprintf("861%04d999999", 3000+prefix))
			for range each - 2 {
				same(t, fmt.Sprintf("861%04d%06d", 3000+prefix, rand.IntN(1_000_000)))
			}
		}
	})
	t.Run("a million others", func(t *testing.T) {
		t.Parallel()
		for range 1_000_000 {
			if digits := fmt.Sprint(rand.Int64N(10_000_000_000_000)); len(digits) > 2 && validMainland(digits[2:]) {
				same(t, "86"+digits[2:])
			}
		}
	})
}
