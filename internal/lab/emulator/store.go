package emulator

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
	"unique"

	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/number"
)

// Sent is one message that was accepted.
type Sent struct {
	Phone        string            `json:"phone"` // digits, as received
	OutID        string            `json:"out_id"`
	BizID        string            `json:"biz_id"`
	Code         string            `json:"code"` // the passcode
	At           time.Time         `json:"at"`
	TemplateCode string            `json:"template_code"`
	SignName     string            `json:"sign_name"`
	Params       map[string]string `json:"params"`
}

// message is one accepted message. It does not change once it is stored, so that it can be read without the lock.
type message struct {
	number   number.Number
	outID    string
	bizID    string
	template string
	sign     string
	param    string // the JSON that was received, smaller than a map
	at       time.Time
	visible  time.Time // to look-ups
	carrier  string    // its code: delivered, or why not
}

func (m *message) params() (params map[string]string) {
	_ = json.Unmarshal([]byte(m.param), &params) // it was checked before it was stored
	return params
}

func (m *message) sent() Sent {
	params := m.params()
	return Sent{
		Phone: m.number.Received, OutID: m.outID, BizID: m.bizID, Code: params[codeVariable], At: m.at,
		TemplateCode: m.template, SignName: m.sign, Params: params,
	}
}

// store keeps the messages in the order of their acceptance. The emulator's lock guards it.
type store struct {
	all     []*message
	dropped int           // messages that stood before the first of all
	keep    time.Duration // 0: for ever
	swept   time.Time
	byPhone map[string][]*message
	lastBiz int64
}

// newStore gives out BizIds that follow one.
func newStore(lastBiz int64, keep time.Duration) *store {
	return &store{lastBiz: lastBiz, keep: keep, byPhone: map[string][]*message{}}
}

// nextBizID returns an id in the service's form.
func (s *store) nextBizID() string {
	s.lastBiz++
	return strconv.FormatInt(s.lastBiz, 10) + "^0"
}

// add stores a message. Its texts are copied, or they would keep the request in
// memory; the few names are stored once.
func (s *store) add(m *message) {
	m.number.Received = strings.Clone(m.number.Received)
	m.number.Key = strings.Clone(m.number.Key)
	m.outID = strings.Clone(m.outID)
	m.param = strings.Clone(m.param)
	m.template = unique.Make(m.template).Value()
	m.sign = unique.Make(m.sign).Value()
	s.sweep(m.at)
	s.all = append(s.all, m)
	s.byPhone[m.number.Key] = append(s.byPhone[m.number.Key], m)
}

// sweep drops the messages that are too old, once a second. The others move into a new
// slice, because the old one may be being read.
func (s *store) sweep(now time.Time) {
	if s.keep == 0 || now.Sub(s.swept) < time.Second {
		return
	}
	s.swept = now
	old := 0
	for old < len(s.all) && now.Sub(s.all[old].at) > s.keep {
		m := s.all[old]
		// A phone's messages are in the order of all of them, so it is its first.
		if rest := s.byPhone[m.number.Key][1:]; len(rest) > 0 {
			s.byPhone[m.number.Key] = slices.Clone(rest)
		} else {
			delete(s.byPhone, m.number.Key)
		}
		old++
	}
	s.dropped += old
	if old > 0 {
		s.all = slices.Clone(s.all[old:])
	}
}
