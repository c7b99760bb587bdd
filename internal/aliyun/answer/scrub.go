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

const (
	// MaxMessageBytes bounds a message that goes into a record.
	MaxMessageBytes = 256
	// maxScannedBytes bounds how much of a message is looked at, and
	// maxCutValueBytes is more than a number has, however it is grouped.
	maxScannedBytes  = 4 << 10
	maxCutValueBytes = 128
	// MaxCodeBytes is above the longest code known (38).
	MaxCodeBytes = 64
	// MaxIDBytes bounds BizId and RequestId; the ones seen have 20 and 36.
	MaxIDBytes = 128

	masked         = "****"
	unreadableCode = "unreadable"
)

var (
	// digitRuns are what may be a phone number or a part of it: seven digits or
	// more, also where they are grouped.
	digitRuns = regexp.MustCompile(`\pN(?:[ \t().+\-]{0,2}\pN){6,}`)
	// shortRuns are what may be a passcode of digits, where it is not known.
	shortRuns = regexp.MustCompile(`\pN{4,}`)
	anyURL    = regexp.MustCompile(`(?i)[a-z][a-z0-9+.\-]*://\S*|/\S*\?\S*`)
	// canonical is where the message of SignatureDoesNotMatch begins to repeat
	// the whole request.
	canonical = regexp.MustCompile(`(?i)(string.?to.?sign|canonical.?request).*|phonenumbers?[=%].*`)
	plainCode = regexp.MustCompile(`^[A-Za-z0-9._\-]+$`)
	plainID   = regexp.MustCompile(`^[A-Za-z0-9^._:\-]+$`)
)

// Scrubber takes from a text of Aliyun's what must not be seen of one message.
// Real texts quote it: "13812345678invalid mobile number".
type Scrubber struct {
	msg     domain.Message
	secrets *regexp.Regexp // of msg; made at the first need, which most calls never have
	phone   string         // the number's last digits; "" none
	guess   bool           // the passcode is not known
}

// NewScrubber makes the scrubber of one message, of which not every value need be
// known.
func NewScrubber(msg domain.Message) *Scrubber {
	s := &Scrubber{msg: msg, guess: msg.Code.Reveal() == ""}
	if digits, ok := Digits(msg.Phone); ok {
		s.phone = digits[max(len(digits)-8, 0):]
	}
	return s
}

// pattern matches each value of the message, in the encodings in which answers
// repeat them.
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
	// The longest first, so that no value hides the rest of one it begins.
	slices.SortFunc(patterns, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	s.secrets = regexp.MustCompile(`(?i)` + strings.Join(slices.Compact(patterns), "|"))
	return s.secrets
}

// rfc3986 encodes as the signature does.
func rfc3986(value string) string {
	return strings.NewReplacer("+", "%20", "*", "%2A", "%7E", "~").Replace(url.QueryEscape(value))
}

// Text returns a message fit for records and logs: printable, at most 256 bytes,
// without URLs, the message's values, or anything like a phone number.
func (s *Scrubber) Text(raw string) string {
	if raw == "" || raw == "OK" {
		return raw // and no pattern is needed
	}
	// What is cut off for time's sake may cut a value in two, so the end goes too.
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

// Code returns a code of the service's, or "unreadable" where it is none: codes
// come from outside too. Known ones are constants and pass as they are.
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

// Receipt reports whether a BizId can be one.
func Receipt(id string) bool { return len(id) <= MaxIDBytes && plainID.MatchString(id) }

// ID returns a BizId or RequestId, or "unreadable" where it is none. These are
// long numbers by nature, so only this message's phone is looked for in them.
func (s *Scrubber) ID(raw string) string {
	if raw == "" {
		return ""
	}
	if !Receipt(raw) || (s.phone != "" && strings.Contains(raw, s.phone)) {
		return unreadableCode
	}
	return raw
}

// printable drops what can't be seen, white space becoming a space: a number
// must not pass because something invisible splits it.
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

// Mainland returns the eleven national digits of a mobile number of mainland
// China: +86 and 1[3-9] and nine more.
func Mainland(phone passcode.Phone) (string, bool) {
	digits, _ := Digits(phone)
	national, ok := strings.CutPrefix(digits, "86")
	if !ok || len(national) != 11 || national[0] != '1' || national[1] < '3' {
		return "", false
	}
	return national, true
}
