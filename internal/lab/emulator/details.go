package emulator

import (
	"slices"
	"strconv"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/gateway"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/number"
)

// serviceZone is the time of the service's days and texts: UTC+8.
var serviceZone = time.FixedZone("UTC+8", 8*60*60)

const (
	maxPageSize = 50
	dateForm    = "20060102"
)

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

// querySendDetails serves a page of the messages to a number, newest first.
func (e *Emulator) querySendDetails(c *gateway.Call) answer {
	if refused := missing(c, "PhoneNumber", "SendDate", "PageSize", "CurrentPage"); refused != nil {
		return e.refused(c.Host, refused)
	}
	n, ok := number.Parse(c.Params["PhoneNumber"])
	if !ok {
		return e.refused(c.Host, gateway.Refuse(codeNumberIllegal))
	}
	date, bizID := c.Params["SendDate"], c.Params["BizId"]
	_, err := time.Parse(dateForm, date)
	size, _ := strconv.Atoi(c.Params["PageSize"]) // 0 for what is no number
	page, _ := strconv.Atoi(c.Params["CurrentPage"])
	if err != nil || size < 1 || size > maxPageSize || page < 1 {
		return e.refused(c.Host, gateway.Refuse(codeInvalid))
	}
	f := e.faultFor(c.Action, n)
	now := e.opts.Now()
	e.mu.Lock()
	messages := e.store.byPhone[n.Key]
	e.mu.Unlock()
	total, rows := 0, []detail{}
	for _, m := range slices.Backward(messages) {
		if m.visible.After(now) || bizID != "" && bizID != m.bizID || m.at.In(serviceZone).Format(dateForm) != date {
			continue
		}
		if total/size == page-1 {
			rows = append(rows, m.detail(now))
		}
		total++
	}
	return e.served(c, f, members{"TotalCount": total, "SmsSendDetailDTOs": members{"SmsSendDetailDTO": rows}})
}

func (m *message) detail(now time.Time) detail {
	d := detail{
		PhoneNum: m.number.Key, SendStatus: sendWaiting, TemplateCode: m.template,
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
