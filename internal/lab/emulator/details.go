package emulator

import (
	"strconv"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/gateway"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/number"
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

// lookup is a valid QuerySendDetails.
type lookup struct {
	number number.Number
	date   string // yyyyMMdd
	bizID  string // "" for any
	size   int
	page   int // from 1
}

func (e *Emulator) querySendDetails(c *gateway.Call) answer {
	l, refused := checkLookup(c)
	if refused != nil {
		return e.refused(c.Host, refused)
	}
	f := e.faultFor(c.Action, l.number)
	total, rows := e.find(l)
	return e.served(c, f, members{"TotalCount": total, "SmsSendDetailDTOs": members{"SmsSendDetailDTO": rows}})
}

func checkLookup(c *gateway.Call) (lookup, *gateway.Refusal) {
	if refused := missing(c, "PhoneNumber", "SendDate", "PageSize", "CurrentPage"); refused != nil {
		return lookup{}, refused
	}
	n, ok := number.Parse(c.Params["PhoneNumber"])
	if !ok {
		return lookup{}, gateway.Refuse(codeNumberIllegal)
	}
	l := lookup{number: n, date: c.Params["SendDate"], bizID: c.Params["BizId"]}
	_, err := time.Parse("20060102", l.date)
	l.size, _ = strconv.Atoi(c.Params["PageSize"]) // 0 for what is no number
	l.page, _ = strconv.Atoi(c.Params["CurrentPage"])
	if err != nil || l.size < 1 || l.size > maxPageSize || l.page < 1 {
		return lookup{}, gateway.Refuse(codeInvalid)
	}
	return l, nil
}

// find returns how many messages match and the rows of the page, newest first.
func (e *Emulator) find(l lookup) (total int, rows []detail) {
	now := e.opts.Now()
	e.mu.Lock()
	messages := e.store.byPhone[l.number.Key]
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
