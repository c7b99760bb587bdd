package domain

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// Limits of a rule.
const (
	// MaxPlaces is the largest Max of a rule. It bounds a phone's document to about 100 KiB, a tenth of what NATS
	// accepts by default.
	MaxPlaces = 1000
	// MaxWindow is the longest Window of a rule.
	MaxWindow = 31 * 24 * time.Hour
)

// Rule allows Max SMS to one phone in any stretch of time as long as Window. It is written as "5/1h".
type Rule struct {
	Max    int
	Window time.Duration
}

// ParseRule reads a rule: a count, a slash, and a duration as in [time.ParseDuration]. [Rule.Valid] judges its values.
// The error does not quote the text, which in a file of settings may be a secret.
func ParseRule(text string) (Rule, error) {
	count, window, _ := strings.Cut(text, "/")
	most, badCount := strconv.Atoi(count)
	length, badWindow := time.ParseDuration(window)
	if badCount != nil || badWindow != nil {
		return Rule{}, errors.New("not a rule like 5/1h")
	}
	return Rule{Max: most, Window: length}, nil
}

// Valid reports whether the rule is within its limits.
func (r Rule) Valid() bool {
	return r.Max >= 1 && r.Max <= MaxPlaces && r.Window > 0 && r.Window <= MaxWindow
}

// String writes the rule in its shortest form: "5/1h", never "5/1h0m0s".
func (r Rule) String() string { return strconv.Itoa(r.Max) + "/" + FormatDuration(r.Window) }

// MarshalText implements [encoding.TextMarshaler] with [Rule.String].
func (r Rule) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// FormatDuration writes a duration without zero units at its end: 24h, not 24h0m0s.
func FormatDuration(d time.Duration) string {
	text := d.String()
	if short, found := strings.CutSuffix(text, "m0s"); found {
		text = short + "m"
	}
	if short, found := strings.CutSuffix(text, "h0m"); found {
		text = short + "h"
	}
	return text
}
