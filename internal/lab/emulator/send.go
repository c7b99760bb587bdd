package emulator

import (
	"cmp"
	"encoding/json"
	"slices"
	"strings"
)

const (
	// maxNumbers is how many numbers one SendSms may have.
	maxNumbers = 1000
	// codeVariable is the variable of a verification template.
	codeVariable = "code"
)

// submission is a SendSms whose parameters are sound.
type submission struct {
	numbers  []number
	sign     string
	template string
	param    string
	outID    string
}

func (e *Emulator) sendSms(c *call) answer {
	s, refused := e.checkSend(c)
	if refused != nil {
		return e.refused(c.host, refused)
	}
	bizID, f, refused := e.submit(s)
	if refused != nil {
		return e.refused(c.host, refused)
	}
	requestID := e.random.requestID()
	right := e.fine(requestID, struct {
		Message   string
		RequestID string `json:"RequestId"`
		BizID     string `json:"BizId"`
		Code      string
	}{codeOK, requestID, bizID, codeOK})
	if bizID != "" {
		right.accepted = len(s.numbers)
	}
	return e.spoil(f, c.host, right)
}

// submit takes a submission through throttling, limits and faults, in one piece
// with its acceptance: from then on the message exists, whatever its sender gets
// to see. The BizId is empty where it is not accepted.
func (e *Emulator) submit(s submission) (bizID string, f *Fault, refused *refusal) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.opts.Now()
	if e.qps.exceeds(e.opts.MaxQPS, now) {
		return "", nil, refuse(codeThrottled)
	}
	var limited string
	if e.opts.Limits {
		limited = e.limits.take(s.sign, s.numbers, now)
	}
	f = e.faults.pick(ActionSendSms, s.numbers, limited != "", e.random.float)
	switch {
	case f != nil && !f.accepts():
		if e.opts.Limits && limited == "" {
			e.limits.giveBack(s.sign, s.numbers)
		}
		return "", f, nil
	case limited != "":
		return "", nil, &refusal{status: statusOf(codeLimited), code: codeLimited, message: limited}
	}
	bizID = e.store.nextBizID()
	for _, n := range s.numbers {
		m := &message{
			number: n, outID: s.outID, bizID: bizID, template: s.template, sign: s.sign, param: s.param,
			at: now, visible: now.Add(e.opts.LookupLag), reported: now.Add(e.opts.DeliveryLag),
		}
		if f != nil {
			m.visible = now.Add(cmp.Or(f.Lag, e.opts.LookupLag))
			m.reportErr = f.Err
			if f.Kind == KindUndelivered {
				m.reportErr = cmp.Or(f.Err, defaultReportError)
			}
		}
		e.store.add(m)
		if e.pusher != nil {
			e.pusher.push(m, e.opts.DeliveryLag)
		}
	}
	return bizID, f, nil
}

// checkSend checks the parameters in the order in which the service does.
func (e *Emulator) checkSend(c *call) (submission, *refusal) {
	for _, name := range []string{"PhoneNumbers", "SignName", "TemplateCode"} {
		if c.params[name] == "" {
			return submission{}, missing(name)
		}
	}
	s := submission{
		sign: c.params["SignName"], template: c.params["TemplateCode"],
		param: c.params["TemplateParam"], outID: c.params["OutId"],
	}
	phones := c.params["PhoneNumbers"]
	if strings.Count(phones, ",") >= maxNumbers {
		return submission{}, refuse(codeTooManyNumbers)
	}
	var ok bool
	if s.numbers, ok = parseNumbers(phones); !ok {
		return submission{}, refuse(codeNumberIllegal)
	}
	if !e.signApproved(s.sign) {
		return submission{}, refuse(codeSignUnknown)
	}
	if !e.templateApproved(s.template) {
		return submission{}, refuse(codeTemplateUnknown)
	}
	t := e.templates[s.template]
	inChina := func(n number) bool { return isMainland(n.key) }
	if t.kind == typeInternational && slices.ContainsFunc(s.numbers, inChina) {
		return submission{}, refuse(codeOnlyAbroad)
	}
	return s, checkParam(s.param, t)
}

func (e *Emulator) signApproved(name string) bool {
	return len(e.opts.SignNames) == 0 || slices.Contains(e.opts.SignNames, name)
}

func (e *Emulator) templateApproved(code string) bool {
	_, ok := e.templates[code]
	return ok || len(e.templates) == 0
}

// checkParam checks a TemplateParam against the variables of its template,
// where those are known.
func checkParam(param string, t template) *refusal {
	if param == "" {
		return refuse(codeParamMissing)
	}
	var values map[string]any
	if err := json.Unmarshal([]byte(param), &values); err != nil || values == nil {
		return refuse(codeParamNotJSON)
	}
	for name, value := range values {
		text, ok := value.(string)
		if !ok {
			return refuse(codeParamNotJSON)
		}
		if name == codeVariable && !isPasscode(text) || t.variables != nil && !slices.Contains(t.variables, name) {
			return refuse(codeParamIllegal)
		}
	}
	for _, name := range t.required() {
		if _, ok := values[name]; !ok {
			return refuse(codeParamMissing)
		}
	}
	return nil
}

// isPasscode reports whether s is 4 to 6 ASCII letters or digits.
func isPasscode(s string) bool {
	return len(s) >= 4 && len(s) <= 6 &&
		!strings.ContainsFunc(s, func(r rune) bool { return !isAlphanumeric(r) })
}
