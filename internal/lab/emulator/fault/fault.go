// Package fault is how the emulator misbehaves on request.
package fault

import (
	_ "embed" // the help
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/gateway"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/number"
)

// Kind is what a fault does.
type Kind string

// The kinds of fault; [Help] says what each does.
const (
	KindCode        Kind = "code"
	KindHTML502     Kind = "html502"
	KindEmpty       Kind = "empty"
	KindGarbage     Kind = "garbage"
	KindHang        Kind = "hang"
	KindDrop        Kind = "drop"
	KindReset       Kind = "reset"
	KindSlow        Kind = "slow"
	KindLatency     Kind = "latency"
	KindLag         Kind = "lag"
	KindUndelivered Kind = "undelivered"
)

// refuses has every kind, and whether it leaves the message unaccepted unless accept_ stands before it.
var refuses = map[Kind]bool{
	KindCode: true, KindHTML502: true, KindEmpty: true, KindGarbage: true, KindHang: true, KindDrop: true, KindReset: true,
	KindSlow: false, KindLatency: false, KindLag: false, KindUndelivered: false,
}

// Fault is one way to misbehave, and when to. [Parse] makes it.
type Fault struct {
	Spec string
	Kind Kind
	// Accept makes a kind accept the message that would leave it unaccepted.
	Accept bool
	// Code, Status and Message are the answer of [KindCode]; without Status and Message Aliyun's own for the code.
	Code     string
	Status   int
	Message  string
	Err      string        // the carrier's report code of the accepted message
	Duration time.Duration // of [KindSlow]; 0 is 5 seconds
	// Latency and Lag replace the emulator's own latency and look-up lag.
	Latency, Lag time.Duration

	action string
	phone  string  // the number's key; empty is any
	share  float64 // of the matching requests; 0 is all
	count  int     // 0 is without end
	fired  int
}

// Accepts reports whether a message that meets the fault is accepted.
func (f *Fault) Accepts() bool { return f.Accept || !refuses[f.Kind] }

// Help describes the SPEC of a fault for a command's help.
//
//go:embed help.txt
var Help string

var errKind = errors.New("fault: the kind must be one of code=CODE, throttle, html502, empty, garbage, hang, drop, " +
	"reset, these (but for throttle) with accept_ before them, slow, latency=TIME, lag=TIME and undelivered")

// Parse reads a SPEC; see [Help]. Its error names the rule that is broken and no
// value of the SPEC, which may hold a phone number.
func Parse(spec string) (*Fault, error) {
	spec = strings.TrimSpace(spec)
	if strings.ContainsAny(spec, "\r\n") {
		return nil, errors.New("fault: a SPEC must be one line")
	}
	reader := csv.NewReader(strings.NewReader(spec))
	reader.LazyQuotes, reader.TrimLeadingSpace = true, true
	items, err := reader.Read()
	if err != nil {
		return nil, errKind // an empty line is the one thing that it doesn't read
	}
	kind, value, hasValue := strings.Cut(strings.TrimSpace(items[0]), "=")
	items = items[1:]
	if kind == "throttle" && !hasValue {
		kind, value, hasValue = "code", "Throttling.User", true
	}
	name, accept := strings.CutPrefix(kind, "accept_")
	f := &Fault{Spec: spec, Kind: Kind(name), Accept: accept, action: gateway.ActionSendSms}
	if unaccepted, known := refuses[f.Kind]; !known || accept && !unaccepted {
		return nil, errKind
	}
	if hasValue {
		if !slices.Contains([]Kind{KindCode, KindLatency, KindLag}, f.Kind) {
			return nil, fmt.Errorf("fault: the kind %s takes no value; its options follow after a comma", kind)
		}
		items = append(items, name+"="+value)
	}
	seen := map[string]bool{}
	for _, item := range items {
		key, value, ok := strings.Cut(strings.TrimSpace(item), "=")
		if !ok {
			return nil, errors.New(`fault: an option must be written key=value, and one with a comma "key=value"`)
		}
		if seen[key] {
			return nil, fmt.Errorf("fault: the option %s is given twice", key)
		}
		seen[key] = true
		if err := f.set(key, strings.TrimSpace(value)); err != nil {
			return nil, err
		}
	}
	return f, f.checkTogether()
}

var isName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`).MatchString

func (f *Fault) set(key, value string) error {
	var ok bool
	var rule string
	var err error
	switch key {
	case "action":
		f.action = value
		ok, rule = slices.Contains(gateway.Actions, value), "must be one of "+strings.Join(gateway.Actions, ", ")
	case "code", "err":
		into := map[string]*string{"code": &f.Code, "err": &f.Err}[key]
		*into = value
		ok, rule = isName(value), "must be 1 to 64 of A-Z a-z 0-9 . _ -"
	case "count":
		f.count, err = strconv.Atoi(value)
		ok, rule = err == nil && f.count >= 1, "must be a whole number, 1 or more"
	case "duration", "lag", "latency":
		into := map[string]*time.Duration{"duration": &f.Duration, "lag": &f.Lag, "latency": &f.Latency}[key]
		*into, err = time.ParseDuration(value)
		ok = err == nil && *into > 0 && *into <= 24*time.Hour
		rule = "must be a time such as 500ms or 5s, at most 24h"
	case "message":
		f.Message = value
		ok = value != "" && len(value) <= 500 && utf8.ValidString(value) && !strings.ContainsFunc(value, unicode.IsControl)
		rule = "must be text of at most 500 bytes on one line"
	case "phone":
		var n number.Number
		n, ok = number.Parse(value)
		f.phone, rule = n.Key, "must be one phone number"
	case "share":
		f.share, err = strconv.ParseFloat(value, 64)
		ok, rule = err == nil && f.share > 0 && f.share <= 1, "must be a number above 0 and at most 1"
	case "status":
		f.Status, err = strconv.Atoi(value)
		ok = err == nil && f.Status >= 200 && f.Status <= 599 && f.Status != 204 && f.Status != 304
		rule = "must be an HTTP status from 200 to 599 that allows a body"
	default:
		return errors.New("fault: the options are action, code, count, duration, err, lag, latency, message, phone, " +
			"share and status")
	}
	if !ok {
		return fmt.Errorf("fault: %s: %s", key, rule)
	}
	return nil
}

func (f *Fault) checkTogether() error {
	sends := f.action == gateway.ActionSendSms || f.action == gateway.ActionSendBatchSms
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
		{!f.Accepts() && (f.Lag != 0 || f.Err != ""), "lag and err go with a kind that accepts the message"},
		{!sends && (f.Accept || f.Kind == KindLag || f.Kind == KindUndelivered || f.Lag != 0 || f.Err != ""),
			"only SendSms and SendBatchSms accept messages: accept_, lag, undelivered and err go with them alone"},
		{f.phone != "" && !sends && f.action != gateway.ActionQuerySendDetails,
			"phone goes with SendSms, SendBatchSms and QuerySendDetails alone"},
	} {
		if check.broken {
			return errors.New("fault: " + check.rule)
		}
	}
	return nil
}

// maxFaults bounds the faults, because every request looks at each of them.
const maxFaults = 1000

// Set is the faults in their order. It must not be used concurrently.
type Set []*Fault

// Pick returns the first fault that meets a request to these numbers, and counts it as
// fired. If the limits refuse the message, no fault that accepts it fires.
func (s Set) Pick(action string, numbers []number.Number, limited bool) *Fault {
	for _, f := range s {
		switch {
		case f.gone(),
			action != f.action,
			limited && f.Accepts(),
			f.phone != "" && !slices.ContainsFunc(numbers, func(n number.Number) bool { return n.Key == f.phone }),
			f.share > 0 && rand.Float64() >= f.share:
			continue
		}
		f.fired++
		return f
	}
	return nil
}

func (f *Fault) gone() bool { return f.count > 0 && f.fired >= f.count }

// MarshalJSON shows a fault; it is gone if it fired as often as its count allows.
func (f *Fault) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{"spec": f.Spec, "fired": f.fired, "gone": f.gone()})
}

// Decode reads the body of POST /_/faults, a SPEC on each line. Its error names the line and the rule.
func Decode(body string) (set Set, err error) {
	for i, line := range strings.Split(body, "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		f, err := Parse(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		set = append(set, f)
	}
	if len(set) > maxFaults {
		return nil, fmt.Errorf("at most %d faults, not %d", maxFaults, len(set))
	}
	return set, nil
}
