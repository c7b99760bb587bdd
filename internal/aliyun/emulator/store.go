package emulator

import (
	"encoding/json"
	"strconv"
	"strings"
	"time"
)

// Sent is one message that was accepted.
type Sent struct {
	// Phone is the number as digits, as it was received.
	Phone string `json:"phone"`
	OutID string `json:"out_id"`
	BizID string `json:"biz_id"`
	// Code is the passcode.
	Code         string            `json:"code"`
	At           time.Time         `json:"at"`
	TemplateCode string            `json:"template_code"`
	SignName     string            `json:"sign_name"`
	Params       map[string]string `json:"params"`
}

// message is one accepted message. It does not change once it is stored, so
// that it can be read without the lock.
type message struct {
	number    number
	outID     string
	bizID     string
	template  string
	sign      string
	param     string // the JSON that was received, smaller than a map
	at        time.Time
	visible   time.Time // to look-ups
	reported  time.Time // by the carrier
	reportErr string    // the carrier's code where it could not deliver
}

func (m *message) params() map[string]string {
	var params map[string]string
	// It was checked to be an object of strings before it was stored.
	_ = json.Unmarshal([]byte(m.param), &params)
	return params
}

func (m *message) sent() Sent {
	params := m.params()
	return Sent{
		Phone: m.number.received, OutID: m.outID, BizID: m.bizID, Code: params[codeVariable], At: m.at,
		TemplateCode: m.template, SignName: m.sign, Params: params,
	}
}

// content is the text of the SMS, passcode and all.
func (m *message) content() string {
	return "【" + m.sign + "】您的验证码为" + m.params()[codeVariable] + ",请勿泄露于他人!"
}

// outcome is the carrier's code and its meaning for people.
func (m *message) outcome() (success bool, code, meaning string) {
	if m.reportErr == "" {
		return true, "DELIVERED", "用户接收成功"
	}
	return false, m.reportErr, "发送失败"
}

// store keeps the messages in the order in which they were accepted. It is
// guarded by the emulator's lock.
type store struct {
	all     []*message
	byPhone map[string][]*message
	names   map[string]string
	lastBiz int64
}

// newStore begins its BizIds at the clock, in units of ten nanoseconds, so that
// no emulator gives out one that an earlier emulator gave out: none accepts a
// hundred million messages a second.
func newStore(now time.Time) *store {
	s := &store{lastBiz: now.UnixNano() / 10}
	s.reset()
	return s
}

func (s *store) reset() {
	s.all = nil
	s.byPhone = map[string][]*message{}
	s.names = map[string]string{}
}

// nextBizID returns an id in the service's form.
func (s *store) nextBizID() string {
	s.lastBiz++
	return strconv.FormatInt(s.lastBiz, 10) + "^0"
}

// add stores a message. Its texts are cut loose from the request, which they
// would otherwise keep in memory; the few names are stored once.
func (s *store) add(m *message) {
	m.number.received = strings.Clone(m.number.received)
	m.number.key = strings.Clone(m.number.key)
	m.outID = strings.Clone(m.outID)
	m.param = strings.Clone(m.param)
	m.template = s.name(m.template)
	m.sign = s.name(m.sign)
	s.all = append(s.all, m)
	s.byPhone[m.number.key] = append(s.byPhone[m.number.key], m)
}

func (s *store) name(name string) string {
	if known, ok := s.names[name]; ok {
		return known
	}
	name = strings.Clone(name)
	s.names[name] = name
	return name
}

// messages returns what was accepted so far. Messages are only appended, and
// reset begins a new slice, so that the result may be read without the lock.
func (e *Emulator) messages() []*message {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.store.all[:len(e.store.all):len(e.store.all)]
}

// Sent returns the messages that were accepted, oldest first.
func (e *Emulator) Sent() []Sent {
	messages := e.messages()
	sent := make([]Sent, 0, len(messages))
	for _, m := range messages {
		sent = append(sent, m.sent())
	}
	return sent
}
