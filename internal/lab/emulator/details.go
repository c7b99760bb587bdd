package emulator

import (
	"slices"
	"strconv"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/fault"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/gateway"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/number"
)

// serviceZone is the time of the service's days and texts: UTC+8.
var serviceZone = time.FixedZone("UTC+8", 8*60*60)

const (
	maxPageSize = 50
	dateForm    = "20060102"
)

// querySendDetails serves a page of the messages to a number, newest first.
func (e *Emulator) querySendDetails(c *gateway.Call) (members, *fault.Fault, *gateway.Refusal) {
	n, ok := number.Parse(c.Params.Get("PhoneNumber"))
	if !ok {
		return nil, nil, gateway.Refuse(codeNumberIllegal)
	}
	date, bizID := c.Params.Get("SendDate"), c.Params.Get("BizId")
	_, err := time.Parse(dateForm, date)
	size, _ := strconv.Atoi(c.Params.Get("PageSize")) // 0 for what is no number
	page, _ := strconv.Atoi(c.Params.Get("CurrentPage"))
	if err != nil || size < 1 || size > maxPageSize || page < 1 {
		return nil, nil, gateway.Refuse(codeInvalid)
	}
	f := e.faultFor(c.Action, n)
	now := e.opts.Now()
	e.mu.Lock()
	messages := e.store.byPhone[n.Key]
	e.mu.Unlock()
	total, rows := 0, []members{}
	for _, m := range slices.Backward(messages) {
		if m.visible.After(now) || bizID != "" && bizID != m.bizID || m.at.In(serviceZone).Format(dateForm) != date {
			continue
		}
		if total/size == page-1 {
			rows = append(rows, m.detail())
		}
		total++
	}
	return members{"TotalCount": total, "SmsSendDetailDTOs": members{"SmsSendDetailDTO": rows}}, f, nil
}

// detail is one row of QuerySendDetails.
func (m *message) detail() members {
	status := 2 // failed; 1 would be waiting for the carrier
	if m.carrier == delivered {
		status = 3
	}
	at, text := serviceTime(m.at), "【"+m.sign+"】您的验证码为"+m.params()[codeVariable]+",请勿泄露于他人!"
	return members{
		"PhoneNum": m.number.Key, "SendStatus": status, "ErrCode": m.carrier, "TemplateCode": m.template,
		"Content": text, "SendDate": at, "ReceiveDate": at, "OutId": m.outID,
	}
}

// serviceTime writes a time as the service does.
func serviceTime(t time.Time) string { return t.In(serviceZone).Format(time.DateTime) }
