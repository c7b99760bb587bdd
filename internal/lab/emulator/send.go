package emulator

import (
	"cmp"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/fault"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/gateway"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/number"
)

// Codes of the service's refusals for more than one reason.
const (
	codeNumberIllegal = "isv.MOBILE_NUMBER_ILLEGAL"
	codeParamNotJSON  = "isv.INVALID_JSON_PARAM"
	codeParamMissing  = "isv.TEMPLATE_MISSING_PARAMETERS"
	codeInvalid       = "isv.INVALID_PARAMETERS"
)

const (
	maxNumbers   = 1000   // of one SendSms
	maxBatch     = 100    // of one SendBatchSms
	codeVariable = "code" // of a verification template

	delivered, undeliverable = "DELIVERED", "MOBILE_NOT_ON_SERVICE" // codes of the carrier
)

// isPasscode is Aliyun's rule for the variable of a verification template.
var isPasscode = regexp.MustCompile(`^[0-9A-Za-z]{4,6}$`).MatchString

// recipient is one message of a submission.
type recipient struct {
	number number.Number // empty where it breaks a rule
	sign   string
	param  string // JSON
}

// sendSms sends one text to one number or several, with commas between.
func (e *Emulator) sendSms(c *gateway.Call) (members, *fault.Fault, *gateway.Refusal) {
	var to []recipient
	for phone := range strings.SplitSeq(c.Params.Get("PhoneNumbers"), ",") {
		n, _ := number.Parse(phone)
		to = append(to, recipient{n, c.Params.Get("SignName"), c.Params.Get("TemplateParam")})
	}
	return e.send(c, to, maxNumbers)
}

// sendBatchSms sends to each number with its own signature and variables.
func (e *Emulator) sendBatchSms(c *gateway.Call) (members, *fault.Fault, *gateway.Refusal) {
	var phones, signs []string
	var params []json.RawMessage
	for name, into := range map[string]any{
		"PhoneNumberJson": &phones, "SignNameJson": &signs, "TemplateParamJson": &params,
	} {
		if text := c.Params.Get(name); text != "" && json.Unmarshal([]byte(text), into) != nil {
			return nil, nil, gateway.Refuse(codeParamNotJSON)
		}
	}
	if params == nil {
		params = make([]json.RawMessage, len(phones))
	}
	if len(phones) == 0 || len(signs) != len(phones) || len(params) != len(phones) {
		return nil, nil, gateway.Refuse(codeInvalid)
	}
	to := make([]recipient, len(phones))
	for i := range to {
		n, _ := number.Parse(phones[i])
		to[i] = recipient{n, signs[i], string(params[i])}
	}
	return e.send(c, to, maxBatch)
}

// send checks the parameters in the order in which the service does, and sends.
func (e *Emulator) send(c *gateway.Call, to []recipient, most int) (members, *fault.Fault, *gateway.Refusal) {
	if len(to) > most {
		return nil, nil, gateway.Refuse("isv.MOBILE_COUNT_OVER_LIMIT")
	}
	if slices.ContainsFunc(to, func(r recipient) bool { return r.number.Key == "" }) {
		return nil, nil, gateway.Refuse(codeNumberIllegal)
	}
	code := c.Params.Get("TemplateCode")
	t := e.templates[code]
	for _, r := range to {
		switch {
		case !e.signApproved(r.sign):
			return nil, nil, gateway.Refuse("isv.SMS_SIGNATURE_ILLEGAL")
		case !e.templateApproved(code):
			return nil, nil, gateway.Refuse("isv.SMS_TEMPLATE_ILLEGAL")
		case kinds[t.kind] == "international" && r.number.IsMainland():
			return nil, nil, gateway.Refuse("isv.DOMESTIC_NUMBER_NOT_SUPPORTED")
		}
		if refused := checkParam(r.param, t); refused != nil {
			return nil, nil, refused
		}
	}
	return e.submit(c, to)
}

// submit applies throttling, limits and faults, and accepts the messages in the same
// step: from then on they exist, whatever their sender gets to see.
func (e *Emulator) submit(c *gateway.Call, to []recipient) (members, *fault.Fault, *gateway.Refusal) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := e.opts.Now()
	if second := now.Unix(); second != e.second {
		e.second, e.sends = second, 0
	}
	if e.sends++; e.opts.MaxQPS > 0 && e.sends > e.opts.MaxQPS {
		return nil, nil, gateway.Refuse("Throttling.User")
	}
	var after limits
	var limited string
	if e.opts.Limits {
		after, limited = e.limits.with(to, now)
	}
	numbers := make([]number.Number, len(to))
	for i, r := range to {
		numbers[i] = r.number
	}
	f := e.faults.Pick(c.Action, numbers, limited != "")
	switch {
	case f != nil && !f.Accepts():
		return members{}, f, nil
	case limited != "":
		refused := gateway.Refuse("isv.BUSINESS_LIMIT_CONTROL")
		refused.Message = limited
		return nil, nil, refused
	}
	maps.Copy(e.limits, after)
	lag, carrier := e.opts.LookupLag, delivered
	if f != nil {
		if f.Kind == fault.KindUndelivered {
			carrier = undeliverable
		}
		lag, carrier = cmp.Or(f.Lag, lag), cmp.Or(f.Err, carrier)
	}
	bizID := e.store.nextBizID()
	for _, r := range to {
		m := &message{
			number: r.number, outID: c.Params.Get("OutId"), bizID: bizID, template: c.Params.Get("TemplateCode"),
			sign: r.sign, param: r.param, at: now, visible: now.Add(lag), carrier: carrier,
		}
		e.store.add(m)
		if e.pusher != nil {
			e.pusher.push(dueReport{message: m})
		}
	}
	e.stats.Accepted += int64(len(to))
	return members{"BizId": bizID}, f, nil
}

func (e *Emulator) signApproved(name string) bool {
	return len(e.opts.SignNames) == 0 || slices.Contains(e.opts.SignNames, name)
}

func (e *Emulator) templateApproved(code string) bool {
	_, ok := e.templates[code]
	return ok || len(e.templates) == 0
}

// checkParam checks a TemplateParam against its template's variables, where those are known.
func checkParam(param string, t template) *gateway.Refusal {
	if param == "" {
		return gateway.Refuse(codeParamMissing)
	}
	var values map[string]*string
	if err := json.Unmarshal([]byte(param), &values); err != nil || values == nil {
		return gateway.Refuse(codeParamNotJSON)
	}
	for name, value := range values {
		switch {
		case value == nil:
			return gateway.Refuse(codeParamNotJSON)
		case name == codeVariable && !isPasscode(*value), t.variables != nil && !slices.Contains(t.variables, name):
			return gateway.Refuse("isv.TEMPLATE_PARAMS_ILLEGAL")
		}
	}
	for _, name := range t.required() {
		if _, ok := values[name]; !ok {
			return gateway.Refuse(codeParamMissing)
		}
	}
	return nil
}
