package emulator

import (
	"strconv"
	"time"
)

// serviceZone is the time of the service's days and texts: UTC+8.
var serviceZone = time.FixedZone("UTC+8", 8*60*60)

const maxPageSize = 50

// The statuses of a message in QuerySendDetails.
const (
	sendWaiting = 1
	sendFailed  = 2
	sendDone    = 3
)

// detail is one row of QuerySendDetails.
type detail struct {
	PhoneNum     string
	SendStatus   int
	ErrCode      string
	TemplateCode string
	Content      string
	SendDate     string
	ReceiveDate  string `json:",omitempty"`
	OutID        string `json:"OutId"`
}

type details struct {
	TotalCount string // text in the service's own answer, too
	Message    string
	RequestID  string `json:"RequestId"`
	Code       string
	Rows       struct {
		List []detail `json:"SmsSendDetailDTO"`
	} `json:"SmsSendDetailDTOs"`
}

// lookup is a QuerySendDetails whose parameters are sound.
type lookup struct {
	number number
	date   string // yyyyMMdd
	bizID  string // "" for any
	size   int
	page   int // from 1
}

func (e *Emulator) querySendDetails(c *call) answer {
	l, refused := checkLookup(c)
	if refused != nil {
		return e.refused(c.host, refused)
	}
	f := e.faultFor(ActionQuerySendDetails, l.number)
	requestID := e.random.requestID()
	body := details{Message: codeOK, RequestID: requestID, Code: codeOK}
	total, rows := e.find(l)
	body.TotalCount = strconv.Itoa(total)
	body.Rows.List = rows
	return e.spoil(f, c.host, e.fine(requestID, body))
}

func (e *Emulator) faultFor(action string, numbers ...number) *Fault {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.faults.pick(action, numbers, false, e.random.float)
}

func checkLookup(c *call) (lookup, *refusal) {
	for _, name := range []string{"PhoneNumber", "SendDate", "PageSize", "CurrentPage"} {
		if c.params[name] == "" {
			return lookup{}, missing(name)
		}
	}
	l := lookup{date: c.params["SendDate"], bizID: c.params["BizId"]}
	var ok bool
	if l.number, ok = parseNumber(c.params["PhoneNumber"]); !ok {
		return lookup{}, refuse(codeNumberIllegal)
	}
	_, err := time.Parse("20060102", l.date)
	size, err1 := strconv.Atoi(c.params["PageSize"])
	page, err2 := strconv.Atoi(c.params["CurrentPage"])
	if err != nil || err1 != nil || err2 != nil || size < 1 || size > maxPageSize || page < 1 {
		return lookup{}, refuse(codeInvalid)
	}
	l.size, l.page = size, page
	return l, nil
}

// find returns how many messages match and the rows of the page, newest first.
func (e *Emulator) find(l lookup) (total int, rows []detail) {
	now := e.opts.Now()
	e.mu.Lock()
	messages := e.store.byPhone[l.number.key]
	e.mu.Unlock()
	rows = []detail{}
	for i := len(messages) - 1; i >= 0; i-- {
		m := messages[i]
		if m.visible.After(now) || l.bizID != "" && l.bizID != m.bizID ||
			m.at.In(serviceZone).Format("20060102") != l.date {
			continue
		}
		if total/l.size == l.page-1 {
			rows = append(rows, m.detail(now))
		}
		total++
	}
	return total, rows
}

func (m *message) detail(now time.Time) detail {
	d := detail{
		PhoneNum: m.number.key, SendStatus: sendWaiting, TemplateCode: m.template,
		Content: m.content(), SendDate: serviceTime(m.at), OutID: m.outID,
	}
	if !m.reported.After(now) {
		success, code, _ := m.outcome()
		d.SendStatus, d.ErrCode, d.ReceiveDate = sendFailed, code, serviceTime(m.reported)
		if success {
			d.SendStatus = sendDone
		}
	}
	return d
}

// serviceTime writes a time as the service does.
func serviceTime(t time.Time) string { return t.In(serviceZone).Format(time.DateTime) }

// The answers of QuerySmsSign and QuerySmsTemplate.
const (
	auditPassed = 1
	auditFailed = 2
)

func audit(approved bool) (status int, reason string) {
	if approved {
		return auditPassed, "无审批备注"
	}
	return auditFailed, "审核不通过"
}

func (e *Emulator) querySmsSign(c *call) answer {
	name := c.params["SignName"]
	if name == "" {
		return e.refused(c.host, missing("SignName"))
	}
	requestID := e.random.requestID()
	status, reason := audit(e.signApproved(name))
	right := e.fine(requestID, struct {
		Code, Message string
		RequestID     string `json:"RequestId"`
		SignName      string
		SignStatus    int
		Reason        string
		CreateDate    string
	}{codeOK, codeOK, requestID, name, status, reason, auditDate})
	return e.spoil(e.faultFor(ActionQuerySmsSign), c.host, right)
}

func (e *Emulator) querySmsTemplate(c *call) answer {
	code := c.params["TemplateCode"]
	if code == "" {
		return e.refused(c.host, missing("TemplateCode"))
	}
	requestID := e.random.requestID()
	status, reason := audit(e.templateApproved(code))
	t := e.templates[code]
	right := e.fine(requestID, struct {
		Code, Message   string
		RequestID       string `json:"RequestId"`
		TemplateCode    string
		TemplateName    string
		TemplateType    int
		TemplateStatus  int
		TemplateContent string
		Reason          string
		CreateDate      string
	}{codeOK, codeOK, requestID, code, "验证码", t.kind, status, t.text(), reason, auditDate})
	return e.spoil(e.faultFor(ActionQuerySmsTemplate), c.host, right)
}

const auditDate = "2017-05-25 00:00:00"
