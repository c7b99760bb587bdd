package passcode

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"unique"
)

// hidden holds a value behind a pointer: fmt calls no methods of a struct's
// unexported field, nor of a value given to a wrong verb, and prints what it
// finds there by reflection; at a pointer that is an address. The handle's pointer
// is the same for equal values, so that == compares what is held.
type hidden struct{ handle unique.Handle[string] }

func hide(value string) hidden {
	if value == "" {
		return hidden{}
	}
	return hidden{unique.Make(value)}
}

func (c hidden) isZero() bool { return c == hidden{} }

func (c hidden) reveal() string {
	if c.isZero() {
		return ""
	}
	return c.handle.Value()
}

// mask is what stands in place of a value that must not be seen.
const mask = "****"

// Phone is a phone number. However it is printed, logged or marshalled it shows
// masked, as in "+86138****5678"; only Reveal gives the number itself.
//
// The zero value is an absent number. == compares the numbers.
type Phone struct{ clear hidden }

// NewPhone wraps a number. It checks nothing: a Phone may hold what a producer
// wrote as well as a canonical E.164 number.
func NewPhone(number string) Phone { return Phone{hide(number)} }

// Reveal returns the number in clear. Its result may go to Aliyun and into a
// keyed hash, never into a log, an error, a metric or a record.
func (p Phone) Reveal() string { return p.clear.reveal() }

// IsZero reports whether there is no number.
func (p Phone) IsZero() bool { return p.clear.isZero() }

// String returns the masked number; see [Phone.Masked].
func (p Phone) String() string { return p.Masked() }

// Format prints the masked number whatever the verb, so that %#v and %x leak
// no more than %s does.
func (p Phone) Format(f fmt.State, _ rune) { writeMasked(f, p.Masked()) }

// LogValue implements [slog.LogValuer] with the masked number.
func (p Phone) LogValue() slog.Value { return slog.StringValue(p.Masked()) }

// MarshalText implements [encoding.TextMarshaler], and so JSON and YAML, with
// the masked number. A job for the wire is written by [Job.Encode].
func (p Phone) MarshalText() ([]byte, error) { return []byte(p.Masked()), nil }

// Masked returns the number with its country code, the first and last few
// digits, and at least four digits hidden: "+86138****5678". What is no E.164
// number (a leading "+" and 7 to 15 digits) shows as "****" alone, because no
// part of an unreadable text is known to be harmless.
func (p Phone) Masked() string {
	digits, ok := strings.CutPrefix(p.Reveal(), "+")
	if p.IsZero() {
		return ""
	}
	if !ok || len(digits) < 7 || len(digits) > 15 || strings.Trim(digits, "0123456789") != "" {
		return mask
	}
	country := digits[:callingCodeLen(digits)]
	national := digits[len(country):]
	shown := max(len(national)-len(mask), 0)
	head := min(shown/2, 3)
	tail := min(shown-head, 4)
	return "+" + country + national[:head] + mask + national[len(national)-tail:]
}

// callingCodeLen returns how many leading digits of an E.164 number are its
// country calling code. ITU-T E.164 assigns 1 and 7 one digit, the codes listed
// two, all others three.
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

// Passcode is the code a user is to type. It never shows: every way of printing
// it gives "****"; only Reveal gives the code.
type Passcode struct{ clear hidden }

// NewPasscode wraps a code without checking it.
func NewPasscode(code string) Passcode { return Passcode{hide(code)} }

// Reveal returns the code in clear. Its result may go to Aliyun alone.
func (p Passcode) Reveal() string { return p.clear.reveal() }

// String returns "****".
func (p Passcode) String() string { return p.clear.masked() }

// Format prints "****" whatever the verb.
func (p Passcode) Format(f fmt.State, _ rune) { writeMasked(f, p.clear.masked()) }

// LogValue implements [slog.LogValuer] with "****".
func (p Passcode) LogValue() slog.Value { return slog.StringValue(p.clear.masked()) }

// MarshalText implements [encoding.TextMarshaler] with "****".
func (p Passcode) MarshalText() ([]byte, error) { return []byte(p.clear.masked()), nil }

// Secret is a key, password or token of the settings. It shows as "****", an
// empty one as nothing, so that a reader can tell whether it is set.
type Secret struct{ clear hidden }

// NewSecret wraps a secret.
func NewSecret(value string) Secret { return Secret{hide(value)} }

// Reveal returns the secret in clear.
func (s Secret) Reveal() string { return s.clear.reveal() }

// IsZero reports whether the secret is not set.
func (s Secret) IsZero() bool { return s.clear.isZero() }

// String returns "****", or "" where the secret is not set.
func (s Secret) String() string { return s.clear.masked() }

// Format prints the mask whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { writeMasked(f, s.clear.masked()) }

// LogValue implements [slog.LogValuer] with the mask.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.clear.masked()) }

// MarshalText implements [encoding.TextMarshaler] with the mask.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.clear.masked()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]: settings are read into it.
func (s *Secret) UnmarshalText(text []byte) error {
	s.clear = hide(string(text))
	return nil
}

func (c hidden) masked() string {
	if c.isZero() {
		return ""
	}
	return mask
}

func writeMasked(f fmt.State, masked string) {
	// An error of the writer behind f is the writer's to report.
	_, _ = io.WriteString(f, masked)
}
