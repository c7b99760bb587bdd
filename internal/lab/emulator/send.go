package emulator

import (
	"cmp"
	"encoding/json"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"

	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/fault"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/gateway"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/number"
)

// Codes of the service's refusals.
const (
	codeLimited         = "isv.BUSINESS_LIMIT_CONTROL"
	codeNumberIllegal   = "isv.MOBILE_NUMBER_ILLEGAL"
	codeTooManyNumbers  = "isv.MOBILE_COUNT_OVER_LIMIT"
	codeSignUnknown     = "isv.SMS_SIGNATURE_ILLEGAL"
	codeTemplateUnknown = "isv.SMS_TEMPLATE_ILLEGAL"
	codeParamNotJSON    = "isv.INVALID_JSON_PARAM"
	codeParamMissing    = "isv.TEMPLATE_MISSING_PARAMETERS"
	codeParamIllegal    = "isv.TEMPLATE_PARAMS_ILLEGAL"
	codeInvalid         = "isv.INVALID_PARAMETERS"
	codeOnlyAbroad      = "isv.DOMESTIC_NUMBER_NOT_SUPPORTED"
	codeThrottled       = "Throttling.User"
)

const (
	maxNumbers   = 1000   // of one SendSms
	maxBatch     = 100    // of one SendBatchSms
	codeVariable = "code" // of a verification template
	// undeliverable is the carrier's code of a message that it can't deliver.
	undeliverable = "MOBILE_NOT_ON_SERVICE"
)

// isPasscode is Aliyun's rule for the variable of a verification template.
var isPasscode = regexp.MustCompile(`^[0-9A-Za-z]{4,6}$`).MatchString

// recipient is one message of a submission.
type recipient struct {
	number number.Number
	sign   string
	param  string // JSON
}

// sendSms sends one text to one number or several, with commas between.
func (e *Emulator) sendSms(c *gateway.Call) answer {
	phones := strings.Split(c.Params["PhoneNumbers"], ",")
	if refused := missing(c, "PhoneNumbers", "SignName", "TemplateCode"); refused != nil {
		return e.refused(c.Host, refused)
	}
	signs := slices.Repeat([]string{c.Params["SignName"]}, len(phones))
	params := slices.Repeat([]string{c.Params["TemplateParam"]}, len(phones))
	return e.send(c, phones, signs, params, maxNumbers)
}

// sendBatchSms sends one text to each number, each with its own signature and
// variables.
func (e *Emulator) sendBatchSms(c *gateway.Call) answer {
	if refused := missing(c, "PhoneNumberJson", "SignNameJson", "TemplateCode"); refused != nil {
		return e.refused(c.Host, refused)
	}
	var phones, signs []string
	var params []json.RawMessage
	for name, into := range map[string]any{
		"PhoneNumberJson": &phones, "SignNameJson": &signs, "TemplateParamJson": &params,
	} {
		if text := c.Params[name]; text != "" && json.Unmarshal([]byte(text), into) != nil {
			return e.refused(c.Host, gateway.Refuse(codeParamNotJSON))
		}
	}
	if params == nil {
		params = make([]json.RawMessage, len(phones))
	}
	if len(phones) == 0 || len(signs) != len(phones) || len(params) != len(phones) {
		return e.refused(c.Host, gateway.Refuse(codeInvalid))
	}
	texts := make([]string, len(params))
	for i := range params {
		texts[i] = string(params[i])
	}
	return e.send(c, phones, signs, texts, maxBatch)
}

// missing refuses a call that lacks one of the parameters.
func missing(c *gateway.Call, names ...string) *gateway.Refusal {
	for _, name := range names {
		if c.Params[name] == "" {
			return gateway.Missing(name)
		}
	}
	return nil
}

// send sends to each phone, with the signature and the variables in its place.
func (e *Emulator) send(c *gateway.Call, phones, signs, params []string, most int) answer {
	to, refused := e.check(c.Params["TemplateCode"], phones, signs, params, most)
	if refused != nil {
		return e.refused(c.Host, refused)
	}
	bizID, f, refused := e.submit(c, to)
	if refused != nil {
		return e.refused(c.Host, refused)
	}
	a := e.served(c, f, members{"BizId": bizID})
	if bizID != "" {
		a.accepted = len(to)
	}
	return a
}

// check checks the parameters in the order in which the service does.
func (e *Emulator) check(code string, phones, signs, params []string, most int) ([]recipient, *gateway.Refusal) {
	if len(phones) > most {
		return nil, gateway.Refuse(codeTooManyNumbers)
	}
	to := make([]recipient, len(phones))
	for i, phone := range phones {
		n, ok := number.Parse(phone)
		if !ok {
			return nil, gateway.Refuse(codeNumberIllegal)
		}
		to[i] = recipient{n, signs[i], params[i]}
	}
	t := e.templates[code]
	for _, r := range to {
		switch {
		case !e.signApproved(r.sign):
			return nil, gateway.Refuse(codeSignUnknown)
		case !e.templateApproved(code):
			return nil, gateway.Refuse(codeTemplateUnknown)
		case t.kind == typeInternational && r.number.IsMainland():
			return nil, gateway.Refuse(codeOnlyAbroad)
		}
		if refused := checkParam(r.param, t); refused != nil {
			return nil, refused
		}
	}
	return to, nil
}

// submit applies throttling, limits and faults, and accepts the messages in the same
// step: from then on they exist, whatever their sender gets to see. The BizId is empty
// if they are not accepted.
func (e *Emulator) submit(c *gateway.Call, to []recipient) (bizID string, f *fault.Fault, refused *gateway.Refusal) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.opts.Now()
	if e.qps.exceeds(e.opts.MaxQPS, now) {
		return "", nil, gateway.Refuse(codeThrottled)
	}
	var limited string
	if e.opts.Limits {
		limited = e.limits.take(to, now)
	}
	numbers := make([]number.Number, len(to))
	for i, r := range to {
		numbers[i] = r.number
	}
	f = e.faults.Pick(c.Action, numbers, limited != "", rand.Float64)
	switch {
	case f != nil && !f.Accepts():
		if e.opts.Limits && limited == "" {
			e.limits.undo(to)
		}
		return "", f, nil
	case limited != "":
		refused = gateway.Refuse(codeLimited)
		refused.Message = limited
		return "", nil, refused
	}
	lag, reportErr := e.opts.LookupLag, ""
	if f != nil {
		lag, reportErr = cmp.Or(f.Lag, lag), f.Err
		if f.Kind == fault.KindUndelivered {
			reportErr = cmp.Or(f.Err, undeliverable)
		}
	}
	bizID = e.store.nextBizID()
	for _, r := range to {
		m := &message{
			number: r.number, outID: c.Params["OutId"], bizID: bizID, template: c.Params["TemplateCode"], sign: r.sign, param: r.param,
			at: now, visible: now.Add(lag), reported: now.Add(e.opts.DeliveryLag), reportErr: reportErr,
		}
		e.store.add(m)
		if e.pusher != nil {
			e.pusher.push(m, e.opts.DeliveryLag)
		}
	}
	return bizID, f, nil
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
func checkParam(param string, t template) *gateway.Refusal {
	if param == "" {
		return gateway.Refuse(codeParamMissing)
	}
	var values map[string]any
	if err := json.Unmarshal([]byte(param), &values); err != nil || values == nil {
		return gateway.Refuse(codeParamNotJSON)
	}
	for name, value := range values {
		text, ok := value.(string)
		if !ok {
			return gateway.Refuse(codeParamNotJSON)
		}
		if name == codeVariable && !isPasscode(text) || t.variables != nil && !slices.Contains(t.variables, name) {
			return gateway.Refuse(codeParamIllegal)
		}
	}
	for _, name := range t.required() {
		if _, ok := values[name]; !ok {
			return gateway.Refuse(codeParamMissing)
		}
	}
	return nil
}
