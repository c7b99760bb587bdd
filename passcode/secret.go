package passcode

import (
	"fmt"
	"io"
	"strings"
	"unique"
)

// hidden is a value that shows masked however it is printed, logged or marshalled; M says how.
//
// It holds the value behind a pointer, because fmt prints unexported fields, and
// values given to a wrong verb, by reflection: of a pointer it prints the address. The
// handle's pointer is the same for equal values, so that == compares what is held.
type hidden[M mask] struct{ handle unique.Handle[string] }

// mask makes what shows of a value that is not empty.
type mask interface{ of(value string) string }

func hide[M mask](value string) hidden[M] {
	if value == "" {
		return hidden[M]{}
	}
	return hidden[M]{unique.Make(value)}
}

// IsZero reports whether there is no value.
func (h hidden[M]) IsZero() bool { return h == hidden[M]{} }

// Reveal returns the value in clear.
func (h hidden[M]) Reveal() string {
	if h.IsZero() {
		return ""
	}
	return h.handle.Value()
}

// String returns the masked value, or "" where there is none.
func (h hidden[M]) String() string {
	if h.IsZero() {
		return ""
	}
	var m M
	return m.of(h.handle.Value())
}

// Format prints the masked value whatever the verb.
func (h hidden[M]) Format(f fmt.State, _ rune) {
	// An error of the writer behind f is the writer's to report.
	_, _ = io.WriteString(f, h.String())
}

// MarshalText writes the masked value, also to JSON, YAML and logs.
func (h hidden[M]) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// stars stand in place of a value that must not be seen.
const stars = "****"

type starMask struct{}

func (starMask) of(string) string { return stars }

// Passcode is the code a user is to type. It shows as "****"; only Reveal gives the
// code, which may go to Aliyun alone.
type Passcode struct{ hidden[starMask] }

// NewPasscode wraps a code without checking it.
func NewPasscode(code string) Passcode { return Passcode{hide[starMask](code)} }

// Secret is a key, password or token of the settings. It shows as "****", an
// empty one as nothing, so that a reader can tell whether it is set.
type Secret struct{ hidden[starMask] }

// NewSecret wraps a secret.
func NewSecret(value string) Secret { return Secret{hide[starMask](value)} }

// Phone is a phone number. It shows masked, as in "+86138****5678"; only Reveal gives
// the number, which may go to Aliyun and into a keyed hash.
//
// The zero value is an absent number. == compares the numbers.
type Phone struct{ hidden[phoneMask] }

// NewPhone wraps a number, as a producer wrote it or canonical, without checking it.
func NewPhone(number string) Phone { return Phone{hide[phoneMask](number)} }

// Masked returns the number with its country code, the first and last few digits, and
// at least four digits hidden. What is no E.164 number (a leading "+" and 7 to 15
// digits) shows as "****": no part of it is known to be harmless.
func (p Phone) Masked() string { return p.String() }

type phoneMask struct{}

func (phoneMask) of(number string) string {
	digits, ok := strings.CutPrefix(number, "+")
	if !ok || len(digits) < 7 || len(digits) > 15 || strings.Trim(digits, "0123456789") != "" {
		return stars
	}
	country := digits[:callingCodeLen(digits)]
	national := digits[len(country):]
	shown := max(len(national)-len(stars), 0)
	head := min(shown/2, 3)
	tail := min(shown-head, 4)
	return "+" + country + national[:head] + stars + national[len(national)-tail:]
}

// callingCodeLen returns how many leading digits of an E.164 number are its country calling code. ITU-T E.164
// assigns 1 and 7 one digit, the codes listed two, all others three.
func callingCodeLen(digits string) int {
	const two = " 20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58" +
		" 60 61 62 63 64 65 66 81 82 84 86 90 91 92 93 94 95 98 "
	switch {
	case digits[0] == '1' || digits[0] == '7':
		return 1
	case strings.Contains(two, " "+digits[:2]+" "):
		return 2
	default:
		return 3
	}
}
