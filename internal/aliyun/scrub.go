package aliyun

import (
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

const (
	// maxMessageBytes bounds a message that goes into a record.
	maxMessageBytes = 256
	// maxScannedBytes bounds how much of a message is looked at, and
	// maxCutValueBytes is more than a number has, however it is grouped.
	maxScannedBytes  = 4 << 10
	maxCutValueBytes = 128
	// maxCodeBytes is above the longest code known (38).
	maxCodeBytes = 64
	// maxIDBytes bounds BizId and RequestId; the ones seen have 20 and 36.
	maxIDBytes = 128

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
	canonical = regexp.MustCompile(`(?i)(string.?to.?sign|canonical.?request).*`)
	plainCode = regexp.MustCompile(`^[A-Za-z0-9._\-]+$`)
	plainID   = regexp.MustCompile(`^[A-Za-z0-9^._:\-]+$`)
)

// scrubber takes from a text of Aliyun's what must not be seen of one message.
// Real texts quote it: "13812345678invalid mobile number".
type scrubber struct {
	msg     domain.Message
	secrets *regexp.Regexp // of msg; made at the first need, which most calls never have
	phone   string         // the number's last digits; "" none
	guess   bool           // the passcode is not known
}

func newScrubber(msg domain.Message) *scrubber {
	s := &scrubber{msg: msg, guess: msg.Code.Reveal() == ""}
	if digits, ok := digitsOf(msg.Phone); ok {
		s.phone = digits[max(len(digits)-8, 0):]
	}
	return s
}

// pattern matches each value of the message, in the encodings in which answers
// repeat them.
func (s *scrubber) pattern() *regexp.Regexp {
	if s.secrets != nil {
		return s.secrets
	}
	values := []string{s.msg.Code.Reveal(), s.msg.Phone.Reveal()}
	if digits, ok := digitsOf(s.msg.Phone); ok {
		values = append(values, digits)
	}
	if national, ok := mainland(s.msg.Phone); ok {
		values = append(values, national)
	}
	for _, value := range s.msg.Params {
		values = append(values, value)
	}
	for _, value := range slices.Clone(values) {
		quoted, err := json.Marshal(value)
		if err != nil {
			continue // no string fails to marshal
		}
		inJSON := strings.Trim(string(quoted), `"`)
		values = append(values, inJSON, rfc3986(value), url.QueryEscape(value), rfc3986(rfc3986(value)), rfc3986(inJSON), rfc3986(rfc3986(inJSON)))
	}
	var patterns []string
	// The longest first, so that no value hides the rest of one it begins.
	slices.SortFunc(values, func(a, b string) int { return len(b) - len(a) })
	for _, value := range slices.Compact(values) {
		if value = printable(value); value != "" {
			patterns = append(patterns, regexp.QuoteMeta(value))
		}
	}
	if len(patterns) == 0 {
		patterns = []string{`\z.`} // matches nothing
	}
	s.secrets = regexp.MustCompile(`(?i)` + strings.Join(patterns, "|"))
	return s.secrets
}

// rfc3986 encodes as the signature does.
func rfc3986(value string) string {
	return strings.NewReplacer("+", "%20", "*", "%2A", "%7E", "~").Replace(url.QueryEscape(value))
}

// text returns a message fit for records and logs: printable, at most 256 bytes,
// without URLs, the message's values, or anything like a phone number.
func (s *scrubber) text(raw string) string {
	if raw == "" || raw == "OK" {
		return raw // and no pattern is needed
	}
	// What is cut off for time's sake may cut a value in two, so the end goes too.
	cut := len(raw) > maxScannedBytes
	text := printable(raw[:min(len(raw), maxScannedBytes)])
	text = canonical.ReplaceAllString(text, "$1 "+masked)
	text = anyURL.ReplaceAllString(text, "[url]")
	text = s.pattern().ReplaceAllString(text, masked)
	text = digitRuns.ReplaceAllString(text, masked)
	if cut {
		text = strings.ToValidUTF8(text[:max(len(text)-maxCutValueBytes, 0)], "")
	}
	return truncate(text, maxMessageBytes)
}

// code returns a code of the service's, or "unreadable" where it is none: codes
// come from outside too. Known ones are constants and pass as they are.
func (s *scrubber) code(raw string) string {
	if _, known := classes[raw]; known {
		return raw
	}
	if len(raw) > maxCodeBytes || !plainCode.MatchString(raw) || s.text(raw) != raw ||
		(s.guess && shortRuns.MatchString(raw)) {
		return unreadableCode
	}
	return raw
}

// receipt reports whether a BizId can be one.
func receipt(id string) bool { return len(id) <= maxIDBytes && plainID.MatchString(id) }

// id returns a BizId or RequestId, or "unreadable" where it is none. These are
// long numbers by nature, so only this message's phone is looked for in them.
func (s *scrubber) id(raw string) string {
	if raw == "" {
		return ""
	}
	if len(raw) > maxIDBytes || !plainID.MatchString(raw) || (s.phone != "" && strings.Contains(raw, s.phone)) {
		return unreadableCode
	}
	return raw
}

// printable drops what can't be seen, white space becoming a space: a number
// must not pass because something invisible splits it.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == utf8.RuneError:
			return -1
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		default:
			return r
		}
	}, text)
}

// truncate cuts at a rune's edge.
func truncate(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	const ellipsis = "…"
	cut := limit - len(ellipsis)
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + ellipsis
}

// digitsOf returns the digits of an E.164 number, country code first.
func digitsOf(phone passcode.Phone) (string, bool) {
	digits, ok := strings.CutPrefix(phone.Reveal(), "+")
	if !ok || len(digits) < 7 || len(digits) > 15 || strings.Trim(digits, "0123456789") != "" {
		return "", false
	}
	return digits, true
}

// mainland returns the eleven national digits of a mobile number of mainland
// China: +86 and 1[3-9] and nine more.
func mainland(phone passcode.Phone) (string, bool) {
	digits, ok := digitsOf(phone)
	if !ok {
		return "", false
	}
	national, ok := strings.CutPrefix(digits, "86")
	if !ok || len(national) != 11 || national[0] != '1' || national[1] < '3' {
		return "", false
	}
	return national, true
}
