package passcode

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"
)

// InvalidError lists what is wrong with a job. It holds no value of the job, which may
// be a phone number or a passcode.
type InvalidError struct{ Problems []Problem }

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

// whereJSONBroke gives the position of a syntax error, whose text quotes the input.
func whereJSONBroke(err error) string {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Sprintf("; the JSON breaks at byte %d", syntax.Offset)
	}
	return ""
}

// decoder reads members one by one and notes what is wrong with each, so that one bad member hides no other.
type decoder struct {
	members map[string]json.RawMessage
	bad     *problems
}

// plainMembers splits a job as [json.Unmarshal] does, if it is like most: all members are texts without escapes, and
// there is no white space between them. Otherwise it returns nil.
func plainMembers(data []byte) map[string]json.RawMessage {
	odd := func(r rune) bool { return r < ' ' || r == '"' || r == '\\' || r == utf8.RuneError }
	members := make(map[string]json.RawMessage, 8)
	rest, more := bytes.CutPrefix(data, []byte(`{"`))
	for more {
		name, value, _ := bytes.Cut(rest, []byte(`":"`))
		end := bytes.IndexByte(value, '"')
		if end < 0 || bytes.ContainsFunc(name, odd) || bytes.ContainsFunc(value[:end], odd) {
			return nil
		}
		members[string(name)] = rest[len(name)+2:][:end+2] // with its quotes
		rest = value[end+1:]
		if string(rest) == "}" {
			return members
		}
		rest, more = bytes.CutPrefix(rest, []byte(`,"`))
	}
	return nil
}

// absent: null counts as absent.
func (d decoder) absent(name string) bool {
	raw, ok := d.members[name]
	return !ok || string(raw) == "null"
}

// read decodes a member and reports whether it was there and could be read.
func (d decoder) read(name string, target any, rule string) bool {
	if d.absent(name) {
		return false
	}
	err := json.Unmarshal(d.members[name], target)
	if err != nil {
		d.bad.add(name, "%s", rule)
	}
	return err == nil
}

func (d decoder) text(name string) (s string) {
	if raw := d.members[name]; len(raw) > 1 && raw[0] == '"' && !bytes.ContainsRune(raw, '\\') && utf8.Valid(raw) {
		return string(raw[1 : len(raw)-1])
	}
	d.read(name, &s, "must be a string")
	return s
}

// required is text that must be there and not be empty.
func (d decoder) required(name string) string {
	switch {
	case d.absent(name):
		d.bad.add(name, "is required")
	case string(d.members[name]) == `""`:
		d.bad.add(name, "must not be empty")
	}
	return d.text(name)
}

// valid returns a text that keeps its rule, and "" for one that does not.
func (d decoder) valid(name, value string, keeps func(string) bool, rule string, args ...any) string {
	if value == "" || keeps(value) {
		return value
	}
	d.bad.add(name, rule, args...)
	return ""
}

func (d decoder) textMap(name string) map[string]string {
	var loose map[string]any
	if !d.read(name, &loose, "must be an object of strings") {
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
	var s string
	if !d.read(name, &s, "must be a string") {
		return time.Time{}
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		d.bad.add(name, "must be an RFC 3339 time")
		return time.Time{}
	}
	// An offset can carry a time out of the years that RFC 3339 can write.
	if year := t.UTC().Year(); year < 1970 || year > 9999 {
		d.bad.add(name, "must be in the years 1970 to 9999")
		return time.Time{}
	}
	return t.UTC()
}

func (d decoder) metadata() map[string]string {
	m := d.textMap("metadata")
	size := 0
	for key, value := range m {
		size += len(key) + len(value)
	}
	switch {
	case len(m) > MaxMetadataEntries:
		d.bad.add("metadata", "must have at most %d entries, has %d", MaxMetadataEntries, len(m))
	case size > MaxMetadataBytes:
		d.bad.add("metadata", "must be at most %d bytes of keys and values, has %d", MaxMetadataBytes, size)
	default:
		return m
	}
	return nil
}

// ValidRequestID reports whether id may name a request.
func ValidRequestID(id string) bool {
	return id != "" && len(id) <= MaxRequestIDLen && !strings.ContainsFunc(id, func(r rune) bool {
		return !isAlphanumeric(r) && r != '_' && r != '-'
	})
}

func validCode(code string) bool {
	return len(code) >= 4 && len(code) <= 6 && !strings.ContainsFunc(code, func(r rune) bool { return !isAlphanumeric(r) })
}

func isAlphanumeric(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

func validIP(address string) bool {
	_, err := netip.ParseAddr(address)
	return err == nil
}

// ValidSubject reports whether a message can be published to the subject: no
// wildcards, white space, control characters or empty tokens, at most 255 bytes.
func ValidSubject(s string) bool {
	for token := range strings.SplitSeq(s, ".") {
		if token == "" || token == "*" || token == ">" {
			return false
		}
	}
	return len(s) <= 255 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}
