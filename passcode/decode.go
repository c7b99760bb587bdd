package passcode

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// InvalidError lists what is wrong with a job. No value of the job stands in
// it, because a wrong value may still be a phone number or a passcode.
type InvalidError struct {
	Problems []Problem
}

// Problem is one rule that a job breaks.
type Problem struct {
	Field string // the member's name, or "job" for the whole
	Rule  string // what it must be
}

// Error lists the problems, each as the field and its rule.
func (e *InvalidError) Error() string {
	texts := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		texts[i] = p.Field + ": " + p.Rule
	}
	return "invalid job: " + strings.Join(texts, "; ")
}

// Invalid returns an [*InvalidError] for one field.
func Invalid(field, rule string) *InvalidError {
	return &InvalidError{Problems: []Problem{{Field: field, Rule: rule}}}
}

type problems []Problem

func (p *problems) add(field, rule string, args ...any) {
	*p = append(*p, Problem{Field: field, Rule: fmt.Sprintf(rule, args...)})
}

func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return &InvalidError{Problems: p}
}

// whereJSONBroke gives the place of a syntax error. The error's own text quotes
// a character of the input, so it is not passed on.
func whereJSONBroke(err error) string {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Sprintf("; the JSON breaks at byte %d", syntax.Offset)
	}
	return ""
}

// decoder reads members one by one and notes what is wrong with each, so that
// one bad member hides no other.
type decoder struct {
	members map[string]json.RawMessage
	bad     *problems
}

// raw returns a member's JSON; null counts as absent.
func (d decoder) raw(name string) (json.RawMessage, bool) {
	raw, ok := d.members[name]
	if !ok || string(raw) == "null" {
		return nil, false
	}
	return raw, true
}

func (d decoder) text(name string) string {
	raw, ok := d.raw(name)
	if !ok {
		return ""
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		d.bad.add(name, "must be a string")
		return ""
	}
	return s
}

// required is text that must be there and not be empty.
func (d decoder) required(name string) string {
	if _, ok := d.raw(name); !ok {
		d.bad.add(name, "is required")
		return ""
	}
	before := len(*d.bad)
	s := d.text(name)
	if s == "" && len(*d.bad) == before {
		d.bad.add(name, "must not be empty")
	}
	return s
}

func (d decoder) requestID() string {
	before := len(*d.bad)
	id := d.required("request_id")
	if len(*d.bad) == before && !ValidRequestID(id) {
		d.bad.add("request_id", "must be 1 to %d of A-Z a-z 0-9 _ -", MaxRequestIDLen)
		return ""
	}
	return id
}

func (d decoder) code() Passcode {
	before := len(*d.bad)
	code := d.required("code")
	if len(*d.bad) > before {
		return Passcode{}
	}
	notAlphanumeric := func(c byte) bool { return !isAlphanumeric(c) }
	if len(code) < 4 || len(code) > 6 || slices.ContainsFunc([]byte(code), notAlphanumeric) {
		d.bad.add("code", "must be 4 to 6 ASCII letters or digits")
		return Passcode{}
	}
	return NewPasscode(code)
}

func (d decoder) textMap(name string) map[string]string {
	raw, ok := d.raw(name)
	if !ok {
		return nil
	}
	var loose map[string]any
	if err := json.Unmarshal(raw, &loose); err != nil {
		d.bad.add(name, "must be an object of strings")
		return nil
	}
	m := make(map[string]string, len(loose))
	for key, value := range loose {
		s, ok := value.(string)
		if !ok {
			// The key is the producer's free text and may hold anything.
			d.bad.add(name, "must be an object of strings; a value is not a string")
			return nil
		}
		m[key] = s
	}
	return m
}

func (d decoder) time(name string) time.Time {
	s := d.text(name)
	if s == "" {
		if raw, ok := d.raw(name); ok && string(raw) == `""` {
			d.bad.add(name, "must be an RFC 3339 time")
		}
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		d.bad.add(name, "must be an RFC 3339 time")
		return time.Time{}
	}
	// An offset can carry a time out of the years that RFC 3339 can write. One
	// bound below is enough for that and says what is meant.
	if year := t.UTC().Year(); year < 1970 || year > 9999 {
		d.bad.add(name, "must be in the years 1970 to 9999")
		return time.Time{}
	}
	return t.UTC()
}

// subject reads a subject that can be published to.
func (d decoder) subject(name string) string {
	s := d.text(name)
	if s != "" && !ValidSubject(s) {
		d.bad.add(name, "must be a subject without wildcards, spaces or empty tokens")
		return ""
	}
	return s
}

// ValidSubject reports whether a message can be published to the subject: no
// wildcards, white space, control characters or empty tokens, at most 255 bytes.
func ValidSubject(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for token := range strings.SplitSeq(s, ".") {
		if token == "" || token == "*" || token == ">" {
			return false
		}
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

func (d decoder) clientIP() string {
	s := d.text("client_ip")
	if s == "" {
		return ""
	}
	if _, err := netip.ParseAddr(s); err != nil {
		d.bad.add("client_ip", "must be an IP address")
		return ""
	}
	return s
}

func (d decoder) metadata() map[string]string {
	m := d.textMap("metadata")
	if len(m) > MaxMetadataEntries {
		d.bad.add("metadata", "must have at most %d entries, has %d", MaxMetadataEntries, len(m))
		return nil
	}
	size := 0
	for key, value := range m {
		size += len(key) + len(value)
	}
	if size > MaxMetadataBytes {
		d.bad.add("metadata", "must be at most %d bytes of keys and values, has %d", MaxMetadataBytes, size)
		return nil
	}
	return m
}
