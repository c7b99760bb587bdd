package answer

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/text"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Bounds, in bytes.
const (
	MaxMessageBytes  = 256     // of a message in a record
	MaxCodeBytes     = 64      // the longest code known has 38
	MaxIDBytes       = 128     // of BizId and RequestId, which have 20 and 36
	maxScannedBytes  = 4 << 10 // of a message; the rest is dropped
	maxCutValueBytes = 128     // more than a number has, however it is grouped

	masked         = "****"
	unreadableCode = "unreadable"
)

var (
	// digitRuns may be a part of a phone number: seven digits or more, also in groups.
	digitRuns = regexp.MustCompile(`\pN(?:[ \t().+\-]{0,2}\pN){6,}`)
	// shortRuns may be a passcode, if it is not known.
	shortRuns = regexp.MustCompile(`\pN{4,}`)
	anyURL    = regexp.MustCompile(`(?i)[a-z][a-z0-9+.\-]*://\S*|/\S*\?\S*`)
	// canonical is where the message of SignatureDoesNotMatch repeats the whole request.
	canonical = regexp.MustCompile(`(?i)(string.?to.?sign|canonical.?request).*|phonenumbers?[=%].*`)
	plainCode = regexp.MustCompile(`^[A-Za-z0-9._\-]+$`)
)

// Scrubber hides one message in Aliyun's texts, which may quote it: "13812345678invalid mobile number".
type Scrubber struct {
	msg     domain.Message
	secrets *regexp.Regexp // matches msg's values; made when needed, which is rare
	phone   string         // the number's last digits; may be empty
	guess   bool           // the passcode is not known
}

// NewScrubber makes the scrubber of a message. Not every value need be known.
func NewScrubber(msg domain.Message) *Scrubber {
	s := &Scrubber{msg: msg, guess: msg.Code.Reveal() == ""}
	if digits, ok := Digits(msg.Phone); ok {
		s.phone = digits[max(len(digits)-8, 0):]
	}
	return s
}

// pattern matches the values of the message in the encodings of answers.
func (s *Scrubber) pattern() *regexp.Regexp {
	if s.secrets != nil {
		return s.secrets
	}
	digits, _ := Digits(s.msg.Phone)
	national, _ := Mainland(s.msg.Phone)
	values := []string{s.msg.Code.Reveal(), s.msg.Phone.Reveal(), digits, national}
	var patterns []string
	for _, value := range slices.AppendSeq(values, maps.Values(s.msg.Params)) {
		quoted, _ := json.Marshal(value) // no string fails to marshal
		inJSON := strings.Trim(string(quoted), `"`)
		for _, form := range []string{
			value, inJSON, url.QueryEscape(value),
			rfc3986(value), rfc3986(rfc3986(value)), rfc3986(inJSON), rfc3986(rfc3986(inJSON)),
		} {
			if form = printable(form); form != "" {
				patterns = append(patterns, regexp.QuoteMeta(form))
			}
		}
	}
	if len(patterns) == 0 {
		patterns = []string{`\z.`} // matches nothing
	}
	// The longest first, in case a value begins another.
	slices.SortFunc(patterns, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	s.secrets = regexp.MustCompile(`(?i)` + strings.Join(slices.Compact(patterns), "|"))
	return s.secrets
}

// rfc3986 encodes as the signature does.
func rfc3986(value string) string {
	return strings.NewReplacer("+", "%20", "*", "%2A", "%7E", "~").Replace(url.QueryEscape(value))
}

// Text makes a message fit for records and logs: printable, short, without URLs, the
// message's values, or anything like a phone number.
func (s *Scrubber) Text(raw string) string {
	if raw == "" || raw == "OK" {
		return raw // and no pattern is needed
	}
	// The cut may go through a value, so the end is dropped too.
	cut := len(raw) > maxScannedBytes
	line := printable(raw[:min(len(raw), maxScannedBytes)])
	line = anyURL.ReplaceAllString(line, "[url]")
	line = canonical.ReplaceAllString(line, "$1 "+masked)
	line = s.pattern().ReplaceAllString(line, masked)
	line = digitRuns.ReplaceAllString(line, masked)
	if cut {
		line = text.Cut(line, max(len(line)-maxCutValueBytes, 0))
	}
	if len(line) > MaxMessageBytes {
		line = text.Cut(line, MaxMessageBytes-len("…")) + "…"
	}
	return line
}

// Code returns a code, or "unreadable" if it can't be one.
func (s *Scrubber) Code(raw string) string {
	if _, known := classes[raw]; known {
		return raw
	}
	if len(raw) > MaxCodeBytes || !plainCode.MatchString(raw) || s.Text(raw) != raw ||
		(s.guess && shortRuns.MatchString(raw)) {
		return unreadableCode
	}
	return raw
}

// IsID reports whether a text can be a BizId or RequestId.
func IsID(id string) bool {
	const plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789^._:-"
	return id != "" && len(id) <= MaxIDBytes && strings.Trim(id, plain) == ""
}

// ID returns a BizId or RequestId, or "unreadable" if it can't be one. They are long
// numbers, so only this message's phone is looked for in them.
func (s *Scrubber) ID(raw string) string {
	if raw == "" {
		return ""
	}
	if !IsID(raw) || (s.phone != "" && strings.Contains(raw, s.phone)) {
		return unreadableCode
	}
	return raw
}

// printable drops what can't be seen, which could hide a number by splitting it.
func printable(raw string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == utf8.RuneError, text.Hidden(r):
			return -1
		default:
			return r
		}
	}, raw)
}

// Digits returns the digits of an E.164 number, country code first.
func Digits(phone passcode.Phone) (string, bool) {
	digits, ok := strings.CutPrefix(phone.Reveal(), "+")
	if !ok || len(digits) < 7 || len(digits) > 15 || strings.Trim(digits, "0123456789") != "" {
		return "", false
	}
	return digits, true
}

// Mainland returns the eleven digits of a mobile number of mainland China: 1[3-9] and nine more, after +86.
func Mainland(phone passcode.Phone) (string, bool) {
	digits, _ := Digits(phone)
	national, ok := strings.CutPrefix(digits, "86")
	if !ok || len(national) != 11 || national[0] != '1' || national[1] < '3' {
		return "", false
	}
	return national, true
}
