// Package phone reads the phone numbers of jobs and brings them into canonical form, E.164 with a leading "+".
//
// Whether a number is valid, and where its country code ends, is libphonenumber's data to say. That library is made
// to find numbers in prose and so accepts much that a job must not hold (letters, extensions, several numbers);
// this package therefore admits plain digits and separators alone before it asks.
package phone

import (
	"strings"

	"github.com/nyaruka/phonenumbers"

	"github.com/passcode-worker/passcode-worker/passcode"
)

const (
	maxText      = 40   // of one number with its separators; one after each digit makes less
	mainlandCode = 86   // Hong Kong, Macao and Taiwan have codes of their own
	anyRegion    = "ZZ" // tells libphonenumber that the number must begin with "+"
)

// The rules that a number may break. They name what is wanted and never what was
// given, since a refused text may still be somebody's number.
const (
	ruleEmpty      = "must not be empty"
	ruleLength     = "must be one number of at most 15 digits"
	ruleCharacters = "must be one number of ASCII digits; of other characters only a leading + and the separators space - . ( ) are allowed"
	ruleInvalid    = "must be one valid phone number, E.164 (+ and country code) or national digits"
	ruleMobile     = "must be a mobile number, being of mainland China"
)

// Parser reads phone numbers. The zero value is ready to use, by any number of goroutines at once.
type Parser struct {
	// Strict makes digits without "+" or "00" always begin with a country code. Otherwise those that are a valid
	// mainland China mobile number (1, 3 to 9, and nine more) are taken as that, and only others as beginning with
	// a country code.
	Strict bool
}

// Parse returns the canonical E.164 form of one number, such as "+8613812345678". A leading "+" or "00" always
// means that a country code follows; what other digits mean is said at [Parser.Strict].
//
// The error is a [*passcode.InvalidError] for the field "phone". It names the
// rule and never shows any part of the text.
func (p Parser) Parse(number passcode.Phone) (passcode.Phone, error) {
	digits, international, rule := strip(number.Reveal())
	canonical := ""
	if rule == "" {
		canonical, rule = p.canonical(digits, international)
	}
	if rule != "" {
		return passcode.Phone{}, passcode.Invalid("phone", rule)
	}
	return passcode.NewPhone(canonical), nil
}

// canonical returns the canonical form of digits, or the rule that they break.
func (p Parser) canonical(digits string, international bool) (canonical, rule string) {
	if !international && !p.Strict && validMainland(digits) {
		return "+86" + digits, ""
	}
	if national, ok := strings.CutPrefix(digits, "86"); ok && validMainland(national) {
		return "+" + digits, ""
	}
	return validate(digits)
}

// Mainland reports whether a canonical number belongs to mainland China. It is
// false for a number that is not canonical.
func Mainland(number passcode.Phone) bool {
	national, ok := strings.CutPrefix(number.Reveal(), "+86")
	return ok && looksMainland(national)
}

// strip takes away separators and the "+" or "00" that says a country code
// follows. It returns the rule that the text breaks, or "".
func strip(text string) (digits string, international bool, rule string) {
	if text == "" {
		return "", false, ruleEmpty
	}
	if len(text) > maxText {
		return "", false, ruleLength
	}
	plain := make([]byte, 0, maxText)
	open := false // inside parentheses
	for _, c := range []byte(text) {
		switch {
		case c >= '0' && c <= '9':
			plain = append(plain, c)
		case c == '+' && !international && len(plain) == 0:
			international = true
		case c == '(' && !open, c == ')' && open:
			open = !open
		case c == ' ' || c == '-' || c == '.':
		default:
			return "", false, ruleCharacters
		}
	}
	if open {
		return "", false, ruleCharacters
	}
	digits = string(plain)
	if !international {
		digits, international = strings.CutPrefix(digits, "00")
	}
	// E.164 allows 15 digits. libphonenumber would look on past them.
	if len(digits) > 15 {
		return "", false, ruleLength
	}
	return digits, international, ""
}

// looksMainland reports whether the digits have the form of a mainland China
// mobile number: 1, then 3 to 9, then nine more.
func looksMainland(digits string) bool {
	return len(digits) == 11 && digits[0] == '1' && digits[1] >= '3' && digits[1] <= '9'
}

// validate reads digits that begin with a country code, and returns their
// canonical form or the rule that they break.
func validate(digits string) (canonical, rule string) {
	number, err := phonenumbers.Parse("+"+digits, anyRegion)
	if err != nil || !phonenumbers.IsValidNumber(number) {
		// The library's error adds nothing that a producer could act on.
		return "", ruleInvalid
	}
	canonical = phonenumbers.Format(number, phonenumbers.E164)
	if number.GetCountryCode() == mainlandCode && !Mainland(passcode.NewPhone(canonical)) {
		// A landline can receive no SMS, and Aliyun takes mainland numbers as the eleven digits of a mobile only.
		return "", ruleMobile
	}
	return canonical, ""
}
