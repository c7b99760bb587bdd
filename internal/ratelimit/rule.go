package ratelimit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Limits of a rule.
const (
	// MaxPlaces is the largest Max of a rule. It bounds the document of a phone
	// to about 100 KiB, a tenth of what NATS accepts by default.
	MaxPlaces = 1000
	// MaxWindow is the longest Window of a rule.
	MaxWindow = 31 * 24 * time.Hour
)

// Rule allows Max SMS to one phone in any stretch of time as long as Window.
type Rule struct {
	Max    int
	Window time.Duration
}

// ParseRule reads a rule written as "5/1h": a count from 1 to [MaxPlaces], a
// slash, and a duration as in [time.ParseDuration] up to [MaxWindow].
func ParseRule(text string) (Rule, error) {
	count, window, found := strings.Cut(text, "/")
	if !found {
		return Rule{}, fmt.Errorf("rule %q: must be written as count/window, for example 5/1h", text)
	}
	limit, err := strconv.Atoi(count)
	if err != nil {
		return Rule{}, fmt.Errorf("rule %q: the count must be a whole number", text)
	}
	length, err := time.ParseDuration(window)
	if err != nil {
		return Rule{}, fmt.Errorf("rule %q: the window must be a duration such as 90s, 1h or 24h", text)
	}
	rule := Rule{Max: limit, Window: length}
	if err := rule.check(); err != nil {
		return Rule{}, fmt.Errorf("rule %q: %w", text, err)
	}
	return rule, nil
}

func (r Rule) check() error {
	switch {
	case r.Max < 1 || r.Max > MaxPlaces:
		return fmt.Errorf("the count must be 1 to %d", MaxPlaces)
	case r.Window <= 0 || r.Window > MaxWindow:
		return fmt.Errorf("the window must be longer than 0 and at most %s", compact(MaxWindow))
	default:
		return nil
	}
}

func checkRules(rules []Rule) error {
	var problems []error
	for _, rule := range rules {
		if err := rule.check(); err != nil {
			problems = append(problems, fmt.Errorf("rule %q: %w", rule, err))
		}
	}
	return errors.Join(problems...)
}

// String writes the rule as [ParseRule] reads it, in its shortest form: "5/1h",
// never "5/1h0m0s".
func (r Rule) String() string { return strconv.Itoa(r.Max) + "/" + compact(r.Window) }

// MarshalText implements [encoding.TextMarshaler] with [Rule.String].
func (r Rule) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler] with [ParseRule].
func (r *Rule) UnmarshalText(text []byte) error {
	rule, err := ParseRule(string(text))
	if err != nil {
		return err
	}
	*r = rule
	return nil
}

// compact leaves out the minutes and seconds that [time.Duration.String] writes
// even where they are zero.
func compact(d time.Duration) string {
	text := d.String()
	if short, found := strings.CutSuffix(text, "m0s"); found {
		text = short + "m"
	}
	if short, found := strings.CutSuffix(text, "h0m"); found {
		text = short + "h"
	}
	return text
}

// longest returns the longest window: what is older counts in no rule.
func longest(rules []Rule) time.Duration {
	var window time.Duration
	for _, rule := range rules {
		window = max(window, rule.Window)
	}
	return window
}

// MaxClosure is how long a phone can be closed at most: Aliyun's longest window
// is a day. The bucket keeps every document at least this long.
const MaxClosure = 24 * time.Hour

// KeyRefresh is how often the HMAC key in the bucket is rewritten while it is in
// use, so that it never reaches the age at which the bucket drops it.
const KeyRefresh = time.Hour

// BucketTTL returns how long the limits bucket must keep its values under these
// rules.
//
// A document matters for at most L after it was last written, L being the longer
// of the longest window and [MaxClosure]; then its newest place has aged out and
// its closure is over. So documents alone need L. The HMAC key needs more: it
// must outlive every document that was written under it, or else the same phone
// would be looked up under another key and start with an empty document. A
// document is written only by a limiter that rewrote the key at most one
// [KeyRefresh] before; a key written that long ago must last another L. That is
// L + KeyRefresh; a second KeyRefresh is room for the time that a call takes
// between looking at the key and writing.
func BucketTTL(rules []Rule) time.Duration {
	return max(longest(rules), MaxClosure) + 2*KeyRefresh
}
