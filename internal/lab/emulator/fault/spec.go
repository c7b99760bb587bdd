package fault

import (
	"encoding/csv"
	"errors"
	"fmt"
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

// option is one option of a SPEC.
type option struct {
	key  string
	rule string
	// read sets the option and reports whether the text keeps the rule. The zero
	// value means that an option is not given, so that no text may stand for it.
	read func(f *Fault, text string) bool
	// text is the option's value, or "" where it is not given.
	text func(f Fault) string
}

const (
	nameRule = "must be 1 to 64 of A-Z a-z 0-9 . _ -"
	timeRule = "must be a time such as 500ms or 5s, at most 24h"
)

var isName = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`).MatchString

// options are in the order in which a SPEC is written.
var options = []option{
	textOption("code", nameRule, func(f *Fault) *string { return &f.Code }, isName),
	newOption("status", "must be an HTTP status from 200 to 599 that allows a body",
		func(f *Fault) *int { return &f.Status }, strconv.Atoi, strconv.Itoa,
		func(n int) bool { return n >= 200 && n <= 599 && n != 204 && n != 304 }),
	newOption("count", "must be a whole number, 1 or more",
		func(f *Fault) *int { return &f.Count }, strconv.Atoi, strconv.Itoa, func(n int) bool { return n >= 1 }),
	newOption("share", "must be a number above 0 and at most 1", func(f *Fault) *float64 { return &f.Share },
		func(s string) (float64, error) { return strconv.ParseFloat(s, 64) },
		func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) },
		func(v float64) bool { return v > 0 && v <= 1 }),
	textOption("phone", "must be one phone number", func(f *Fault) *string { return &f.Phone },
		func(s string) bool { _, ok := number.Parse(s); return ok }),
	textOption("action", "must be one of "+strings.Join(gateway.Actions(), ", "),
		func(f *Fault) *string { return &f.Action },
		func(s string) bool { return slices.Contains(gateway.Actions(), s) }),
	textOption("err", nameRule, func(f *Fault) *string { return &f.Err }, isName),
	timeOption("duration", func(f *Fault) *time.Duration { return &f.Duration }),
	timeOption("latency", func(f *Fault) *time.Duration { return &f.Latency }),
	timeOption("lag", func(f *Fault) *time.Duration { return &f.Lag }),
	textOption("message", "must be text of at most 500 bytes on one line",
		func(f *Fault) *string { return &f.Message }, func(s string) bool {
			return s != "" && len(s) <= 500 && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
		}),
}

func textOption(key, rule string, field func(*Fault) *string, valid func(string) bool) option {
	same := func(s string) string { return s }
	return newOption(key, rule, field, func(s string) (string, error) { return s, nil }, same, valid)
}

func timeOption(key string, field func(*Fault) *time.Duration) option {
	return newOption(key, timeRule, field, time.ParseDuration, time.Duration.String,
		func(d time.Duration) bool { return d > 0 && d <= 24*time.Hour })
}

func newOption[T comparable](
	key, rule string, field func(*Fault) *T, parse func(string) (T, error), format func(T) string, valid func(T) bool,
) option {
	return option{
		key: key, rule: rule,
		read: func(f *Fault, text string) bool {
			value, err := parse(text)
			*field(f) = value
			return err == nil && valid(value)
		},
		text: func(f Fault) string {
			var zero T
			if value := *field(&f); value != zero {
				return format(value)
			}
			return ""
		},
	}
}

var errKind = errors.New("fault: the kind must be one of code=CODE, throttle, html502, empty, garbage, hang, drop, " +
	"reset, these (but for throttle) with accept_ before them, slow, latency=TIME, lag=TIME and undelivered")

// Parse reads a SPEC; see [Help]. Its error names the rule that is broken and no
// value of the SPEC, which may hold a phone number.
func Parse(spec string) (Fault, error) {
	if strings.ContainsAny(strings.TrimSpace(spec), "\r\n") {
		return Fault{}, errors.New("fault: a SPEC must be one line")
	}
	reader := csv.NewReader(strings.NewReader(spec))
	reader.LazyQuotes, reader.TrimLeadingSpace = true, true
	items, err := reader.Read()
	if err != nil {
		return Fault{}, errKind // an empty line is the one thing that it doesn't read
	}
	return build(items)
}

// build makes a fault of a SPEC's items. It is the one place that checks them.
func build(items []string) (Fault, error) {
	kind, value, hasValue := strings.Cut(strings.TrimSpace(items[0]), "=")
	f := Fault{Kind: KindCode, Code: throttleCode}
	if kind != throttle {
		name, accept := strings.CutPrefix(kind, "accept_")
		f = Fault{Kind: Kind(name), Accept: accept}
	}
	if !slices.Contains(refusing, f.Kind) && (f.Accept || !slices.Contains(harmless, f.Kind)) {
		return Fault{}, errKind
	}
	items = slices.Clone(items[1:])
	if hasValue {
		key := f.Kind.valueKey()
		if key == "" || kind == throttle {
			return Fault{}, fmt.Errorf("fault: the kind %s takes no value; its options follow after a comma", kind)
		}
		items = append(items, key+"="+value)
	}
	seen := map[string]bool{"code": f.Code != ""}
	for _, item := range items {
		key, value, ok := strings.Cut(strings.TrimSpace(item), "=")
		if !ok {
			return Fault{}, errors.New(`fault: an option must be written key=value, and one with a comma "key=value"`)
		}
		i := slices.IndexFunc(options, func(o option) bool { return o.key == key })
		switch {
		case i < 0:
			return Fault{}, errors.New("fault: the options are " + strings.Join(optionKeys(), ", "))
		case seen[key]:
			return Fault{}, fmt.Errorf("fault: the option %s is given twice", key)
		case !options[i].read(&f, strings.TrimSpace(value)):
			return Fault{}, fmt.Errorf("fault: %s: %s", key, options[i].rule)
		}
		seen[key] = true
	}
	return f, f.checkTogether()
}

func optionKeys() []string {
	var keys []string
	for _, o := range options {
		keys = append(keys, o.key)
	}
	return keys
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

// checkTogether checks the options against the kind and the action.
func (f Fault) checkTogether() error {
	sends := f.action() == gateway.ActionSendSms || f.action() == gateway.ActionSendBatchSms
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
		{f.Phone != "" && !sends && f.action() != gateway.ActionQuerySendDetails,
			"phone goes with SendSms, SendBatchSms and QuerySendDetails alone"},
	} {
		if check.broken {
			return errors.New("fault: " + check.rule)
		}
	}
	return nil
}

// Spec returns the SPEC that [Parse] reads the same fault from.
func (f Fault) Spec() string {
	kind := string(f.Kind)
	if f.Accept {
		kind = "accept_" + kind
	}
	items := []string{kind}
	for _, o := range options {
		switch text := o.text(f); {
		case text == "":
		case o.key == f.Kind.valueKey():
			items[0] += "=" + text
		default:
			items = append(items, o.key+"="+text)
		}
	}
	var b strings.Builder
	w := csv.NewWriter(&b)
	_ = w.Write(items) // a strings.Builder takes everything
	w.Flush()
	return strings.TrimSuffix(b.String(), "\n")
}

// Validate reports the first rule that a fault breaks which was not parsed.
func (f Fault) Validate() error {
	parsed, err := Parse(f.Spec())
	if err == nil && parsed != f {
		err = errors.New("fault: no SPEC stands for it")
	}
	return err
}
