package emulator

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxFaultTime bounds every time of a fault.
const maxFaultTime = day

var optionRules = map[string]string{
	"code":     "must be 1 to 64 of A-Z a-z 0-9 . _ -",
	"message":  "must be text of at most 500 bytes on one line, with no space around it",
	"phone":    "must be one phone number",
	"action":   "must be SendSms, QuerySendDetails, QuerySmsSign or QuerySmsTemplate",
	"err":      "must be 1 to 64 of A-Z a-z 0-9 . _ -",
	"status":   "must be an HTTP status from 200 to 599 that allows a body",
	"count":    "must be a whole number, 1 or more",
	"share":    "must be a number above 0 and at most 1",
	"duration": "must be a time such as 500ms or 5s, at most 24h",
	"latency":  "must be a time such as 500ms or 5s, at most 24h",
	"lag":      "must be a time such as 500ms or 5s, at most 24h",
}

// Validate reports the first rule that the fault breaks. [ParseFault] returns
// only faults that break none.
func (f Fault) Validate() error {
	if !f.Kind.known() || f.Accept && !f.Kind.refuses() {
		return errKind
	}
	time24h := func(d time.Duration) bool { return d >= 0 && d <= maxFaultTime }
	_, phoneOK := parseNumber(f.Phone)
	for _, check := range []struct {
		key string
		ok  bool
	}{
		{"code", validName(f.Code)},
		{"message", len(f.Message) <= 500 && utf8.ValidString(f.Message) &&
			!strings.ContainsFunc(f.Message, unicode.IsControl) && strings.TrimSpace(f.Message) == f.Message},
		{"phone", f.Phone == "" || phoneOK},
		{"action", f.Action == "" || knownAction(f.Action)},
		{"err", validName(f.Err)},
		{"status", f.Status == 0 || f.Status >= 200 && f.Status <= 599 && f.Status != 204 && f.Status != 304},
		{"count", f.Count >= 0},
		{"share", f.Share >= 0 && f.Share <= 1},
		{"duration", time24h(f.Duration)},
		{"latency", time24h(f.Latency)},
		{"lag", time24h(f.Lag)},
	} {
		if !check.ok {
			return fmt.Errorf("fault: %s: %s", check.key, optionRules[check.key])
		}
	}
	return f.validateTogether()
}

// validateTogether checks the options against the kind and the action.
func (f Fault) validateTogether() error {
	sends := cmp.Or(f.Action, ActionSendSms) == ActionSendSms
	for _, check := range []struct {
		broken bool
		rule   string
	}{
		{f.Kind == KindCode && f.Code == "", "the kind code needs a value: code=CODE"},
		{f.Kind == KindLatency && f.Latency == 0, "the kind latency needs a value: latency=TIME"},
		{f.Kind == KindLag && f.Lag == 0, "the kind lag needs a value: lag=TIME"},
		{f.Kind != KindCode && (f.Code != "" || f.Status != 0 || f.Message != ""),
			"code, status and message go with the kind code alone"},
		{f.Kind != KindSlow && f.Duration != 0, "duration goes with the kind slow alone"},
		{!f.accepts() && (f.Lag != 0 || f.Err != ""), "lag and err go with a kind that accepts the message"},
		{!sends && (f.Accept || f.Kind == KindLag || f.Kind == KindUndelivered || f.Lag != 0 || f.Err != ""),
			"only SendSms accepts a message, so that accept_, lag, undelivered and err go with it alone"},
		{f.Phone != "" && (f.Action == ActionQuerySmsSign || f.Action == ActionQuerySmsTemplate),
			"phone goes with SendSms and QuerySendDetails alone"},
	} {
		if check.broken {
			return errors.New("fault: " + check.rule)
		}
	}
	return nil
}

// validName reports whether s is empty or may stand as a code.
func validName(s string) bool {
	return len(s) <= 64 && !strings.ContainsFunc(s, func(r rune) bool {
		return !isAlphanumeric(r) && r != '.' && r != '_' && r != '-'
	})
}

func isAlphanumeric(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}
