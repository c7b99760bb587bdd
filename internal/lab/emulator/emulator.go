package emulator

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// The access key of an emulator whose options name none.
const (
	DefaultAccessKeyID     = "LTAI5tEmulatorKeyId"
	DefaultAccessKeySecret = "EmulatorKeySecret"
)

// Options are an emulator's settings. The zero value serves the default access
// key, approves every signature and template, and has no limits.
type Options struct {
	// AccessKeyID and AccessKeySecret are the one access key that is known;
	// where both are empty, the default one. With temporary credentials they are
	// the temporary key, and any security token will do.
	AccessKeyID     string
	AccessKeySecret string
	// Latency is waited before each answer. A message is accepted before it.
	Latency time.Duration
	// Limits turns on the windows for each phone: 1 a minute, 5 an hour and 10 a
	// day for a signature, 40 a day over all signatures.
	Limits bool
	// MaxQPS answers Throttling.User to what exceeds so many SendSms in one
	// second of the clock; 0 is no limit.
	MaxQPS int
	// SignNames are the approved signatures; empty: any.
	SignNames []string
	// Templates are the codes of the approved templates; empty: any. Behind a
	// code may stand the variables that the template has, with colons between:
	// "SMS_154950909:code". Then another variable draws the service's refusal
	// "Params must be [a-zA-Z0-9] for verification sms"; without them only code
	// is checked. A template is for verification codes unless its kind stands
	// behind all that: "SMS_154950909=notification"; the others are promotion and
	// international. New panics where [CheckTemplate] finds one wrong.
	Templates []string
	// Keep is for how long accepted messages are kept; 0: until [Emulator.Reset].
	// Look-ups, too, find no message that was forgotten.
	Keep time.Duration
	// LookupLag is how long QuerySendDetails does not find a message that was
	// accepted.
	LookupLag time.Duration
	// DeliveryLag is how long a message waits for the carrier's report.
	DeliveryLag time.Duration
	// ReportURL is where delivery reports are pushed; empty: nowhere.
	ReportURL string
	// ReportWaits is how long to wait before each repetition of a push that
	// failed; nil: 1, 5 and 10 minutes, like the service.
	ReportWaits []time.Duration
	// Now is the clock of signatures, limits, messages and the Date header; nil:
	// time.Now. Latencies and the pushing of reports go by the real one.
	Now func() time.Time
	// Seed makes the faults with a share, and the request ids, the same each
	// time; 0: each time others.
	Seed uint64
	// Faults are set from the start. New panics where one breaks a rule.
	Faults []Fault
	// Logger gets neither phone numbers nor passcodes; nil: no log.
	Logger *slog.Logger
}

// Emulator is a local Dysmsapi. It is an [http.Handler], safe for concurrent
// use. After use it must be closed.
type Emulator struct {
	opts      Options
	templates map[string]template // by code
	nonces    *nonces
	counters  *counters
	random    *random
	pusher    *pusher // nil without a report URL

	mu     sync.Mutex // guards what follows
	store  *store
	limits *limits
	faults faultSet
	qps    qps

	life    sync.Mutex // guards the closing of closing, and working.Add against it
	working sync.WaitGroup
	closing chan struct{}
}

// New returns an emulator that serves at once.
func New(opts Options) *Emulator {
	if opts.AccessKeyID == "" && opts.AccessKeySecret == "" {
		opts.AccessKeyID, opts.AccessKeySecret = DefaultAccessKeyID, DefaultAccessKeySecret
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.ReportWaits == nil {
		opts.ReportWaits = []time.Duration{time.Minute, 5 * time.Minute, 10 * time.Minute}
	}
	for _, f := range opts.Faults {
		if err := f.Validate(); err != nil {
			panic("emulator: " + err.Error())
		}
	}
	e := &Emulator{
		opts:      opts,
		templates: mustTemplates(opts.Templates),
		nonces:    newNonces(),
		counters:  newCounters(),
		random:    newRandom(opts.Seed),
		store:     newStore(opts.Now(), opts.Keep),
		limits:    newLimits(),
		faults:    newFaultSet(opts.Faults),
		closing:   make(chan struct{}),
	}
	if opts.ReportURL != "" {
		e.pusher = newPusher(httpPost(opts.ReportURL), opts.ReportWaits, opts.Logger)
	}
	return e
}

// ServeHTTP serves the API on "/" and the administration on "/_/".
func (e *Emulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if route, ok := strings.CutPrefix(r.URL.Path, "/_/"); ok {
		e.serveAdmin(w, r, route)
		return
	}
	if !e.enter() {
		e.deliver(w, r, e.refused(r.Host, refuse(codeUnavailable)))
		return
	}
	defer e.leave()
	c, a := e.handle(r)
	e.counters.answered(c.action, a)
	e.opts.Logger.LogAttrs(r.Context(), slog.LevelDebug, "request answered",
		slog.String("action", c.action), slog.String("answer", a.label), slog.String("request_id", a.requestID))
	e.deliver(w, r, a)
}

func (e *Emulator) handle(r *http.Request) (*call, answer) {
	c, refused := readCall(r)
	if refused == nil {
		refused = e.authenticate(c, e.opts.Now())
	}
	if refused != nil {
		return c, e.refused(c.host, refused)
	}
	switch c.action {
	case ActionSendSms:
		return c, e.sendSms(c)
	case ActionQuerySendDetails:
		return c, e.querySendDetails(c)
	case ActionQuerySmsSign:
		return c, e.querySmsSign(c)
	default:
		return c, e.querySmsTemplate(c)
	}
}

// enter counts a request in, unless the emulator is closing.
func (e *Emulator) enter() bool {
	e.life.Lock()
	defer e.life.Unlock()
	select {
	case <-e.closing:
		return false
	default:
	}
	e.working.Add(1)
	e.counters.began()
	return true
}

func (e *Emulator) leave() {
	e.counters.ended()
	e.working.Done()
}

// Close ends requests that hang or wait and the pushing of reports, and returns
// when all of them have ended. Later requests are answered ServiceUnavailable;
// what was accepted can still be read.
func (e *Emulator) Close() {
	e.life.Lock()
	select {
	case <-e.closing:
	default:
		close(e.closing)
	}
	e.life.Unlock()
	e.working.Wait()
	if e.pusher != nil {
		e.pusher.close()
	}
}

// SetFaults replaces the faults, or leaves them as they are and returns the
// first rule that is broken.
func (e *Emulator) SetFaults(faults []Fault) error {
	if err := checkCount(faults); err != nil {
		return err
	}
	for i, f := range faults {
		if err := f.Validate(); err != nil {
			return fmt.Errorf("fault %d: %w", i+1, err)
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.faults = newFaultSet(slices.Clone(faults))
	return nil
}

// Reset forgets everything: messages, limits, nonces, counters, faults and the
// reports that wait to be pushed.
func (e *Emulator) Reset() {
	e.mu.Lock()
	e.store.reset()
	e.limits = newLimits()
	e.faults = nil
	e.qps = qps{}
	e.mu.Unlock()
	e.nonces.reset()
	e.counters.reset()
	if e.pusher != nil {
		e.pusher.reset()
	}
}

// Stats returns the counters.
func (e *Emulator) Stats() Stats {
	s := e.counters.snapshot()
	if e.pusher != nil {
		s.Reports = e.pusher.stats()
	}
	return s
}

// qps counts the messages of one second of the clock.
type qps struct {
	second int64
	count  int
}

// exceeds counts one request and reports whether it is one too many.
func (q *qps) exceeds(most int, now time.Time) bool {
	if second := now.Unix(); second != q.second {
		*q = qps{second: second}
	}
	q.count++
	return most > 0 && q.count > most
}

// random is a source of randomness for concurrent use.
type random struct {
	mu  sync.Mutex
	pcg *rand.Rand
}

func newRandom(seed uint64) *random {
	return &random{pcg: rand.New(rand.NewPCG(cmp.Or(seed, rand.Uint64()), 0))}
}

func (r *random) float() float64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pcg.Float64()
}

// requestID returns an id in the form of a UUID in capitals.
func (r *random) requestID() string {
	var b [16]byte
	r.mu.Lock()
	for i := range b {
		b[i] = byte(r.pcg.Uint32())
	}
	r.mu.Unlock()
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // version 4 of RFC 9562
	s := strings.ToUpper(hex.EncodeToString(b[:]))
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}
