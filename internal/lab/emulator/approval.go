package emulator

import (
	"cmp"
	"errors"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/fault"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/gateway"
)

const auditDate = "2017-05-25 00:00:00" // of every approval

// approval serves a query for one signature or template. The actions that begin with Get are newer and tell more.
func (e *Emulator) approval(param string, approved func(string) bool, tell func(name string, status int, newer bool) members) action {
	return action{[]string{param}, func(c *gateway.Call) (members, *fault.Fault, *gateway.Refusal) {
		name, status, reason := c.Params.Get(param), 1, "无审批备注"
		if !approved(name) {
			status, reason = 2, "审核不通过"
		}
		newer := strings.HasPrefix(c.Action, "Get")
		m := tell(name, status, newer)
		m[param], m["CreateDate"] = name, auditDate
		if newer {
			m["AuditInfo"] = members{"AuditDate": auditDate, "RejectInfo": reason}
		} else {
			m["Reason"] = reason
		}
		return m, e.faultFor(c.Action), nil
	}}
}

func (e *Emulator) tellSign(_ string, status int, newer bool) members {
	m := members{"SignStatus": status}
	if newer {
		m["SignIspRegisterDetailList"] = e.filings
	}
	return m
}

// tellTemplate has texts in the newer action where the older has numbers, as the service does.
func (e *Emulator) tellTemplate(code string, status int, newer bool) members {
	kind, m := e.templates[code].kind, e.templates[code].members()
	m["TemplateType"], m["TemplateStatus"] = kind, status
	if newer {
		m["TemplateType"], m["TemplateStatus"] = strconv.Itoa(kind), strconv.Itoa(status)
	}
	return m
}

// list serves a page of what is approved, which is nothing where anything is.
func (e *Emulator) list(rows string, names []string, row func(name string) members) action {
	return action{nil, func(c *gateway.Call) (members, *fault.Fault, *gateway.Refusal) {
		page, _ := strconv.Atoi(cmp.Or(c.Params.Get("PageIndex"), "1")) // 0 for what is no number
		size, _ := strconv.Atoi(cmp.Or(c.Params.Get("PageSize"), "10"))
		if page < 1 || size < 1 || size > maxPageSize {
			return nil, nil, gateway.Refuse(codeInvalid)
		}
		listed := []members{}
		for i, name := range names {
			if i/size != page-1 {
				continue
			}
			m := row(name)
			m["AuditStatus"], m["CreateDate"] = "AUDIT_STATE_PASS", auditDate
			m["Reason"] = members{"RejectDate": "", "RejectInfo": "", "RejectSubInfo": ""}
			listed = append(listed, m)
		}
		m := members{"TotalCount": len(names), "CurrentPage": page, "PageSize": size, rows: listed}
		return m, e.faultFor(c.Action), nil
	}}
}

func (e *Emulator) listedTemplate(code string) members {
	m, kind := e.templates[code].members(), e.templates[code].kind
	m["TemplateCode"], m["OuterTemplateType"], m["TemplateType"] = code, kind, listedKinds[kind]
	return m
}

// isFiling reads CARRIER=STATUS:REASON; [Options] says what the statuses are.
var isFiling = regexp.MustCompile(`^(mobile|unicom|telecom)=(-2|-1|0|1|2|3)(?::([A-Z_]{1,64}))?$`)

// readFilings returns what each carrier has on file about every signature.
func readFilings(specs []string) (filings []members, err error) {
	for _, carrier := range []string{"mobile", "unicom", "telecom"} {
		filings = append(filings, members{
			"OperatorCode": carrier, "OperatorCompleteTime": auditDate, "RegisterStatus": 3, "RegisterStatusReasons": []members{},
		})
	}
	for _, spec := range specs {
		parts := isFiling.FindStringSubmatch(spec)
		if parts == nil {
			return nil, errors.New("must be CARRIER=STATUS or CARRIER=STATUS:REASON, the carrier mobile, unicom or telecom, " +
				"the status 3, 2, 1, 0, -1 or -2")
		}
		i := slices.IndexFunc(filings, func(f members) bool { return f["OperatorCode"] == parts[1] })
		filings[i]["RegisterStatus"], _ = strconv.Atoi(parts[2])
		if parts[3] != "" {
			filings[i]["RegisterStatusReasons"] = []members{{"ReasonCode": parts[3]}}
		}
	}
	return filings, nil
}

// kinds are the kinds of templates in --template, each at the place that is its
// TemplateType; listedKinds are the same as QuerySmsTemplateList numbers them.
var (
	kinds       = []string{"verification", "notification", "promotion", "international"}
	listedKinds = []int{2, 0, 1, 6}
)

// template is what is known of a template that is approved.
type template struct {
	code      string
	kind      int
	variables []string // nil for any
}

// readTemplate reads CODE, CODE:variable:variable, and both with =KIND behind.
func readTemplate(spec string) (t template, err error) {
	names, kind, given := strings.Cut(spec, "=")
	if given {
		if t.kind = slices.Index(kinds, kind); t.kind < 0 {
			return t, errors.New("the kind behind = must be one of " + strings.Join(kinds, ", "))
		}
	}
	parts := strings.Split(names, ":")
	if slices.Contains(parts, "") {
		return t, errors.New("must be CODE, or CODE:variable:…, with =KIND behind it where it is no verification template")
	}
	t.code = parts[0]
	if len(parts) > 1 {
		t.variables = parts[1:]
	}
	return t, nil
}

// required are the variables that each message of the template must have.
func (t template) required() []string {
	if t.variables == nil {
		return []string{codeVariable}
	}
	return t.variables
}

// members are those that every answer about a template has.
func (t template) members() members {
	variables := "${" + strings.Join(t.required(), "}${") + "}"
	return members{"TemplateName": "验证码", "TemplateContent": "您的验证码为" + variables + ",请勿泄露于他人!"}
}
