// Package emulator is a local Dysmsapi 2017-05-25, Aliyun's SMS service. Other vendors' clients work with it too:
// it checks signatures, clock, nonce and parameters, enforces the limits of each phone, answers look-ups, pushes
// delivery reports, and misbehaves on request (package fault). Answers are always JSON.
//
// It keeps every message that it accepts in memory until [Emulator.Reset], about a
// gigabyte for a million. [Options].Keep bounds that by time.
//
// The administration below /_/ needs no signature, and shows phone numbers and passcodes on purpose. Serve the
// emulator on loopback alone.
//
// Only a request with a right signature and valid parameters meets a fault: the first
// that matches. One that accepts the message does not fire if the limits refuse it.
package emulator

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/fault"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/gateway"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator/number"
)

// The access key of an emulator whose options name none.
const (
	DefaultAccessKeyID     = "LTAI5tEmulatorKeyId"
	DefaultAccessKeySecret = "EmulatorKeySecret"
)

// Options are an emulator's settings, and the flags of "worker emulator". The zero value
// serves the default access key, approves every signature and template, and has no limits.
//
// With temporary credentials the access key is the temporary one; any security token will do. A message is accepted
// before the latency. If a template is given with its variables (SMS_154950909:code), others are refused.
type Options struct {
	AccessKeyID     string        `name:"access-key-id" help:"The one access key that is known (${default_key_id} where left out)." placeholder:"ID"`
	AccessKeySecret string        `name:"access-key-secret" help:"Its secret (${default_key_secret} where left out)." placeholder:"SECRET"`
	Latency         time.Duration `help:"How long each answer takes." placeholder:"50ms"`
	Limits          bool          `help:"Enforce Aliyun's own limits for each phone: 1 a minute, 5 an hour, 10 a day, 40 a day over all signatures."`
	MaxQPS          int           `name:"max-qps" help:"Throttle what exceeds so many sends a second." placeholder:"N"`
	Faults          []string      `name:"fault" sep:"none" placeholder:"SPEC" help:"A fault from the start; may be repeated. See below."`
	SignNames       []string      `name:"sign-name" sep:"none" help:"An approved signature name; any where left out."`
	Filings         []string      `name:"filing" sep:"none" placeholder:"SPEC" help:"What a carrier has on file about every signature, for GetSmsSign: CARRIER=STATUS or CARRIER=STATUS:REASON, the carrier mobile, unicom or telecom. The status is 3 (filed) where left out, 2 lapsed, 1 filed and awaiting verification, 0 failed, -1 in progress, -2 not filed."`
	Templates       []string      `name:"template" sep:"none" placeholder:"CODE" help:"An approved template, CODE or CODE:variable:… ; any where left out. One that is not for passcodes has =notification, =promotion or =international behind it."`
	ClockOffset     time.Duration `name:"clock-offset" help:"How far the clock is ahead of this machine's, in the Date header and where signatures are checked; --clock-offset=-20m is behind." placeholder:"20m"`
	Keep            time.Duration `help:"Drop messages after so long; left out: never." placeholder:"10m"`
	LookupLag       time.Duration `name:"lookup-lag" help:"How long look-ups don't find a message." placeholder:"2s"`
	ReportURL       string        `name:"report-url" help:"Where delivery reports are pushed."`

	// ReportWaits are the waits before a failed push is repeated; nil: like the service.
	ReportWaits []time.Duration `kong:"-"`
	// Now is the clock of signatures, limits, messages and the Date header; nil:
	// time.Now. Latencies and the pushing of reports go by the real one.
	Now func() time.Time `kong:"-"`
	// Logger gets neither phone numbers nor passcodes; nil: no log.
	Logger *slog.Logger `kong:"-"`
}

// Emulator is a local Dysmsapi. It is safe for concurrent use, and must be closed.
type Emulator struct {
	opts      Options
	templates map[string]template // by code
	filings   []members
	gateway   *gateway.Gateway
	service   map[string]action
	admin     http.Handler

	// closing ends what waits. working counts requests, none after closing; mu guards it.
	closing context.Context
	close   context.CancelFunc
	working sync.WaitGroup

	mu     sync.Mutex // guards what follows
	store  *store
	limits limits
	faults fault.Set
	second int64 // of the clock, in which sends were counted
	sends  int
	pusher *pusher // nil without a report URL
	stats  Stats
}

// New returns an emulator that serves at once. Its error names the option, as in "template: ", and the broken rule.
func New(opts Options) (*Emulator, error) {
	if opts.AccessKeyID == "" && opts.AccessKeySecret == "" {
		opts.AccessKeyID, opts.AccessKeySecret = DefaultAccessKeyID, DefaultAccessKeySecret
	}
	if opts.Now == nil {
		opts.Now = func() time.Time { return time.Now().Add(opts.ClockOffset) }
	}
	opts.Logger = cmp.Or(opts.Logger, slog.New(slog.DiscardHandler))
	if opts.ReportWaits == nil {
		opts.ReportWaits = []time.Duration{time.Minute, 5 * time.Minute, 10 * time.Minute}
	}
	e := &Emulator{
		opts:      opts,
		templates: map[string]template{},
		gateway:   gateway.New(opts.AccessKeyID, opts.AccessKeySecret, opts.Now),
		limits:    limits{},
		// No emulator gives out a BizId of an earlier emulator: they follow the clock, in units of ten nanoseconds.
		store: newStore(opts.Now().UnixNano()/10, opts.Keep),
		stats: newStats(),
	}
	var err error
	if e.filings, err = readFilings(opts.Filings); err != nil {
		return nil, fmt.Errorf("filing: %w", err)
	}
	for _, spec := range opts.Templates {
		t, err := readTemplate(spec)
		if err != nil {
			return nil, fmt.Errorf("template: %w", err)
		}
		e.templates[t.code] = t
	}
	for _, spec := range opts.Faults {
		f, err := fault.Parse(spec)
		if err != nil {
			return nil, err
		}
		e.faults = append(e.faults, f)
	}
	e.service = e.actions()
	e.admin = e.adminRoutes()
	e.closing, e.close = context.WithCancel(context.Background())
	e.startPusher()
	return e, nil
}

func (e *Emulator) startPusher() {
	if e.opts.ReportURL != "" {
		e.pusher = newPusher(e.closing, httpPost(e.opts.ReportURL), e.opts.ReportWaits, e.opts.Logger)
	}
}

// action is how one action is served: the parameters that it needs, and what it answers,
// with the fault that it met, or why it refuses.
type action struct {
	needs []string
	serve func(*gateway.Call) (members, *fault.Fault, *gateway.Refusal)
}

func (e *Emulator) actions() map[string]action {
	sign := e.approval("SignName", e.signApproved, e.tellSign)
	template := e.approval("TemplateCode", e.templateApproved, e.tellTemplate)
	listedSign := func(name string) members { return members{"SignName": name, "BusinessType": "验证码类型"} }
	return map[string]action{
		gateway.ActionSendSms:          {[]string{"PhoneNumbers", "SignName", "TemplateCode"}, e.sendSms},
		gateway.ActionSendBatchSms:     {[]string{"PhoneNumberJson", "SignNameJson", "TemplateCode"}, e.sendBatchSms},
		gateway.ActionQuerySendDetails: {[]string{"PhoneNumber", "SendDate", "PageSize", "CurrentPage"}, e.querySendDetails},
		"QuerySmsSign":                 sign,
		"QuerySmsTemplate":             template,
		"GetSmsSign":                   sign,
		"GetSmsTemplate":               template,
		"QuerySmsSignList":             e.list("SmsSignList", e.opts.SignNames, listedSign),
		"QuerySmsTemplateList":         e.list("SmsTemplateList", slices.Sorted(maps.Keys(e.templates)), e.listedTemplate),
	}
}

// ServeHTTP serves the API on "/" and the administration on "/_/".
func (e *Emulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_/") {
		e.admin.ServeHTTP(w, r)
		return
	}
	if !e.enter() {
		e.deliver(w, r, e.answer(r.Host, nil, nil, gateway.Refuse(gateway.CodeUnavailable)))
		return
	}
	defer e.leave()
	var m members
	var f *fault.Fault
	c, refused := e.gateway.Admit(r)
	if refused == nil {
		served := e.service[c.Action]
		if refused = gateway.Missing(c.Params.Get, served.needs...); refused == nil {
			m, f, refused = served.serve(c)
		}
	}
	a := e.answer(r.Host, m, f, refused)
	e.answered(c.Action, a)
	e.opts.Logger.LogAttrs(r.Context(), slog.LevelDebug, "request answered",
		slog.String("action", c.Action), slog.String("answer", a.label), slog.String("request_id", a.requestID))
	e.deliver(w, r, a)
}

// enter counts a request in, unless the emulator is closing.
func (e *Emulator) enter() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing.Err() != nil {
		return false
	}
	e.working.Add(1)
	e.stats.InFlight++
	e.stats.MaxInFlight = max(e.stats.MaxInFlight, e.stats.InFlight)
	return true
}

func (e *Emulator) leave() {
	e.mu.Lock()
	e.stats.InFlight--
	e.mu.Unlock()
	e.working.Done()
}

// Close ends hanging and waiting requests and the pushing of reports, and waits for their end. Later requests are
// answered ServiceUnavailable; what was accepted can still be read.
func (e *Emulator) Close() {
	e.mu.Lock()
	e.close()
	pusher := e.pusher // a reset replaces it
	e.mu.Unlock()
	e.working.Wait()
	if pusher != nil {
		pusher.close()
	}
}

// SetFaults replaces the faults by those of a body of POST /_/faults.
func (e *Emulator) SetFaults(body string) error {
	set, err := fault.Decode(body)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.faults = set
	return nil
}

// faultFor picks the fault of a request that accepts nothing.
func (e *Emulator) faultFor(action string, numbers ...number.Number) *fault.Fault {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.faults.Pick(action, numbers, false)
}

// Sent returns the messages that were accepted, oldest first.
func (e *Emulator) Sent() []Sent {
	e.mu.Lock()
	defer e.mu.Unlock()
	sent := make([]Sent, len(e.store.all))
	for i, m := range e.store.all {
		sent[i] = m.sent()
	}
	return sent
}

// Reset drops everything: messages, limits, nonces, counters, faults and the reports that wait to be pushed.
func (e *Emulator) Reset() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.store = newStore(e.store.lastBiz, e.opts.Keep)
	e.limits = limits{}
	e.faults = nil
	e.sends = 0
	inFlight := e.stats.InFlight
	e.stats = newStats()
	e.stats.InFlight, e.stats.MaxInFlight = inFlight, inFlight
	e.gateway.Reset()
	if e.pusher != nil {
		e.pusher.close()
		e.startPusher()
	}
}
