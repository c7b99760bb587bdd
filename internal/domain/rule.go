package domain

import (
	"errors"
	"fmt"
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

var errNotRule = errors.New("not a rule like 5/1h")

// ParseRule reads a rule: a count, a slash, and a duration as in [time.ParseDuration]. [Rule.Check] checks its values.
// The error does not quote the text, which in a file of settings may be a secret.
func ParseRule(text string) (Rule, error) {
	count, window, ok := strings.Cut(text, "/")
	if !ok {
		return Rule{}, fmt.Errorf("%w: there is no slash", errNotRule)
	}
	most, err := strconv.Atoi(count)
	if err != nil {
		return Rule{}, fmt.Errorf("%w: the count must be a whole number", errNotRule)
	}
	length, err := time.ParseDuration(window)
	if err != nil {
		return Rule{}, fmt.Errorf("%w: the window must be a duration such as 90s, 1h or 24h", errNotRule)
	}
	return Rule{Max: most, Window: length}, nil
}

// Check reports a rule that is out of its limits.
func (r Rule) Check() error {
	switch {
	case r.Max < 1 || r.Max > MaxPlaces:
		return fmt.Errorf("the count must be 1 to %d", MaxPlaces)
	case r.Window <= 0 || r.Window > MaxWindow:
		return fmt.Errorf("the window must be longer than 0 and at most %s", FormatDuration(MaxWindow))
	default:
		return nil
	}
}

// String writes the rule in its shortest form: "5/1h", never "5/1h0m0s".
func (r Rule) String() string { return strconv.Itoa(r.Max) + "/" + FormatDuration(r.Window) }

// MarshalText implements [encoding.TextMarshaler] with [Rule.String].
func (r Rule) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler] with [ParseRule]. On an error the rule stays as it was.
func (r *Rule) UnmarshalText(text []byte) error {
	rule, err := ParseRule(string(text))
	if err == nil {
		*r = rule
	}
	return err
}

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
