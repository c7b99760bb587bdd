package emulator

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Kind is what a fault does.
type Kind string

// The kinds of fault; [FaultHelp] says what each does.
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

const (
	defaultSlowDuration = 5 * time.Second
	defaultReportError  = "MOBILE_NOT_ON_SERVICE"
)

// Fault is one way to misbehave, and when to.
type Fault struct {
	Kind Kind
	// Accept makes a kind that would leave the message unaccepted accept it.
	Accept bool
	// Code, Status and Message are the answer of [KindCode]. Without Status and
	// Message they are those that Aliyun uses with the code.
	Code    string
	Status  int
	Message string
	// Count is how often it fires; 0 is without end.
	Count int
	// Share is the part of the matching requests that it meets, above 0 and at
	// most 1; 0 is all of them.
	Share float64
	// Phone restricts it to one number, however that is written.
	Phone string
	// Action is the action that it meets; empty is SendSms.
	Action string
	// Err is the carrier's report code of the message that was accepted.
	Err string
	// Duration is how long [KindSlow] takes; 0 is 5 seconds.
	Duration time.Duration
	// Latency replaces the emulator's own latency.
	Latency time.Duration
	// Lag replaces the emulator's own time until look-ups find the message.
	Lag time.Duration
}

// ParseFault reads a SPEC; see [FaultHelp]. Its error names the rule that is
// broken and no value of the SPEC, which may hold a phone number.
func ParseFault(spec string) (Fault, error) {
	head, rest, more := strings.Cut(strings.TrimSpace(spec), ",")
	var f Fault
	kind, value, hasValue := strings.Cut(strings.TrimSpace(head), "=")
	if err := f.setKind(kind); err != nil {
		return Fault{}, err
	}
	if key := f.Kind.valueKey(); hasValue {
		if key == "" || kind == aliasThrottle {
			return Fault{}, fmt.Errorf("fault: the kind %s takes no value; its options follow after a comma", kind)
		}
		if err := f.set(key, value); err != nil {
			return Fault{}, err
		}
	}
	seen := map[string]bool{"code": f.Code != "", "latency": f.Latency != 0, "lag": f.Lag != 0}
	for more {
		var item string
		if strings.HasPrefix(strings.TrimSpace(rest), "message=") {
			item, more = rest, false
		} else {
			item, rest, more = strings.Cut(rest, ",")
		}
		key, value, ok := strings.Cut(strings.TrimSpace(item), "=")
		if !ok {
			return Fault{}, errors.New("fault: an option must be written key=value")
		}
		if seen[key] {
			return Fault{}, fmt.Errorf("fault: the option %s is given twice", key)
		}
		seen[key] = true
		if err := f.set(key, value); err != nil {
			return Fault{}, err
		}
	}
	if err := f.Validate(); err != nil {
		return Fault{}, err
	}
	return f, nil
}

// aliasThrottle is a kind that stands for another one with its value.
const aliasThrottle = "throttle"

var errKind = errors.New("fault: the kind must be one of code=CODE, throttle, html502, empty, garbage, hang, drop, " +
	"reset, these (but for throttle) with accept_ before them, slow, latency=TIME, lag=TIME and undelivered")

// setKind reads a kind, with accept_ before it or not.
func (f *Fault) setKind(text string) error {
	if text == aliasThrottle {
		f.Kind, f.Code = KindCode, codeThrottled
		return nil
	}
	name, accept := strings.CutPrefix(text, "accept_")
	kind := Kind(name)
	if !kind.known() || accept && !kind.refuses() {
		return errKind
	}
	f.Kind, f.Accept = kind, accept
	return nil
}

// set reads one option.
func (f *Fault) set(key, value string) error {
	var ok bool
	switch key {
	case "code":
		f.Code, ok = given(value, nil)
	case "message":
		f.Message, ok = given(strings.TrimSpace(value), nil)
	case "phone":
		f.Phone, ok = given(value, nil)
	case "action":
		f.Action, ok = given(value, nil)
	case "err":
		f.Err, ok = given(value, nil)
	case "status":
		f.Status, ok = given(strconv.Atoi(value))
	case "count":
		f.Count, ok = given(strconv.Atoi(value))
	case "share":
		f.Share, ok = given(strconv.ParseFloat(value, 64))
	case "duration":
		f.Duration, ok = given(time.ParseDuration(value))
	case "latency":
		f.Latency, ok = given(time.ParseDuration(value))
	case "lag":
		f.Lag, ok = given(time.ParseDuration(value))
	default:
		return errors.New("fault: the options are action, code, count, duration, err, lag, latency, message, phone, " +
			"share and status")
	}
	if !ok {
		return fmt.Errorf("fault: %s: %s", key, optionRules[key])
	}
	return nil
}

// given passes a value on and reports whether it can be one: the zero value
// means that an option is not given, so that nobody may give it.
func given[T comparable](value T, err error) (T, bool) {
	var zero T
	return value, err == nil && value != zero
}

// refuses reports whether the kind leaves the message unaccepted unless
// accept_ stands before it.
func (k Kind) refuses() bool {
	switch k {
	case KindCode, KindHTML502, KindEmpty, KindGarbage, KindHang, KindDrop, KindReset:
		return true
	default:
		return false
	}
}

func (k Kind) known() bool {
	switch k {
	case KindSlow, KindLatency, KindLag, KindUndelivered:
		return true
	default:
		return k.refuses()
	}
}

// valueKey is the option that a kind's own value sets, or "".
func (k Kind) valueKey() string {
	switch k {
	case KindCode, KindLatency, KindLag:
		return string(k)
	default:
		return ""
	}
}

// accepts reports whether a message that meets the fault is accepted.
func (f Fault) accepts() bool { return f.Accept || !f.Kind.refuses() }

// Spec returns the SPEC that [ParseFault] reads the same fault from.
func (f Fault) Spec() string {
	kind := string(f.Kind)
	if f.Accept {
		kind = "accept_" + kind
	}
	items := []string{kind}
	add := func(key, value string, given bool) {
		switch {
		case !given:
		case key == f.Kind.valueKey():
			items[0] += "=" + value
		default:
			items = append(items, key+"="+value)
		}
	}
	add("code", f.Code, f.Code != "")
	add("status", strconv.Itoa(f.Status), f.Status != 0)
	add("count", strconv.Itoa(f.Count), f.Count != 0)
	add("share", strconv.FormatFloat(f.Share, 'g', -1, 64), f.Share != 0)
	add("phone", f.Phone, f.Phone != "")
	add("action", f.Action, f.Action != "")
	add("err", f.Err, f.Err != "")
	add("duration", f.Duration.String(), f.Duration != 0)
	add("latency", f.Latency.String(), f.Latency != 0)
	add("lag", f.Lag.String(), f.Lag != 0)
	add("message", f.Message, f.Message != "") // last, since it takes the rest
	return strings.Join(items, ",")
}

// String returns the SPEC with the phone masked, for logs.
func (f Fault) String() string {
	if f.Phone != "" {
		f.Phone = "****"
	}
	return f.Spec()
}
