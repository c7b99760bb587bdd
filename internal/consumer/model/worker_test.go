package model_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/consumer"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// next returns what the worker at the end of that list asks for.
func (m *model) next(at int32) op {
	if n := &m.tree.nodes[at]; n.known {
		return n.next
	}
	s := &script{m: m}
	n := at
	for ; m.tree.nodes[n].parent != 0; n = m.tree.nodes[n].parent {
		s.told = append(s.told, m.tree.nodes[n].told)
	}
	s.job, s.last = m.tree.nodes[n].job, m.tree.nodes[n].told
	// The model has time pass by itself, so a pause between two tries takes none.
	ctx, cancel := context.WithCancel(retry.WithTimer(context.Background(), instant))
	defer cancel()
	s.stop = cancel
	m.consumer(s).Handle(ctx, ctx, s, func() {})
	m.runs++
	known := &m.tree.nodes[at]
	known.next, known.looks, known.known = s.asked, s.looks, true
	return s.asked
}

// looks is how often that worker looks at the clock before what it asks for.
func (m *model) looks(at int32) uint8 {
	m.next(at)
	return m.tree.nodes[at].looks
}

func (m *model) consumer(s *script) *consumer.Consumer {
	return consumer.New(consumer.Options{
		Ledger: s, Limiter: s, Sender: s, Account: s, Outage: noOutage{},
		Waits: s.Waits, ParsePhone: s.Parse, Announce: s.Announce, WriteDeadLetter: s.Write,
		Metrics: m.metrics, Logger: m.log, Policy: m.policy,
		Worker: "w" + strconv.Itoa(int(s.job.worker)+1), ResultSubject: "passcode.result",
		MayReplyTo: func(string) bool { return true }, Concurrency: 1, AckWait: leaseTicks * time.Second,
		CallFence: callTicks * time.Second, ShutdownTimeout: time.Second,
		Now: s.clock,
	}, m.effects)
}

// noOutage is an outage breaker that lets every call pass.
type noOutage struct{}

func (noOutage) Admit(string) domain.Admission        { return domain.Admission{Allowed: true} }
func (noOutage) Asked(string, error) domain.Admission { return domain.Admission{Allowed: true} }
func (noOutage) NotCalled(string)                     {}

func instant(time.Duration) <-chan time.Time {
	c := make(chan time.Time)
	close(c)
	return c
}

// script answers a worker's operations from the list, and notes the first one that is not on it. From then on
// every answer is an error and its context is done, so that handle returns.
type script struct {
	m     *model
	job   delivered
	told  []told // the last first
	last  told   // that was taken from it
	looks uint8  // at the clock since
	asked op
	over  bool
	stop  context.CancelFunc
}

func (s *script) ask(what func() op) (told, error) {
	if s.over {
		return told{}, errDied
	}
	if len(s.told) == 0 {
		s.asked, s.over = what(), true
		s.stop()
		return told{}, errDied
	}
	got := s.told[len(s.told)-1]
	s.told = s.told[:len(s.told)-1]
	s.last, s.looks = got, 0
	return got, toldErrors[got.err]
}

func (s *script) clock() time.Time {
	if s.over {
		return at(s.last.now) // what is done then is of no account
	}
	s.looks++
	now := s.last.now
	if s.last.later > 0 && s.looks > s.last.looks {
		now = s.last.later
	}
	return at(now + s.m.ahead[s.job.worker])
}

func (s *script) do(o op) error {
	_, err := s.ask(func() op { return o })
	return err
}

// retry makes an operation as an adapter does, under the policy that its caller named.
func (s *script) retry(ctx context.Context, o op) error {
	return retry.Do(ctx, func(context.Context) error { return s.do(o) })
}

func ticks(d time.Duration) int16 { return int16((d + time.Second - 1) / time.Second) }

// The delivery.

func (s *script) Body() []byte { return s.m.body(s.job) }

func (s *script) Header(name string) string {
	if name == domain.HeaderReplay && s.job.replay > 0 {
		return strconv.Itoa(int(s.job.replay))
	}
	return ""
}

func (s *script) Origin() domain.Origin {
	queued := noon
	if s.job.replay > 0 {
		queued = at(s.m.blindUntil) // or later
	}
	deliveries := uint64(1)
	if s.job.again {
		deliveries = 2
	}
	return domain.Origin{
		Stream: "PASSCODE", Seq: uint64(s.job.seq), Subject: "passcode.send", QueuedAt: queued, Deliveries: deliveries,
	}
}

func (s *script) Ack() error                    { return s.do(op{kind: opAck}) }
func (s *script) Nak(delay time.Duration) error { return s.do(op{kind: opNak, ticks: ticks(delay)}) }
func (s *script) Term(string) error             { return s.do(op{kind: opTerm}) }
func (s *script) Extend() error                 { return nil }

// The stream.

func (s *script) Waits(_ context.Context, seq uint64, _ string) (bool, error) {
	got, err := s.ask(func() op { return op{kind: opFindOwner, revision: uint8(seq)} })
	return got.waits, err
}

// The ledger.

// Since: nobody deletes records in this world.
func (s *script) Since(context.Context) (time.Time, error) { return time.Time{}, nil }

func (s *script) Claim(_ context.Context, first passcode.Result) (domain.Claim, error) {
	got, err := s.ask(func() op { return op{kind: opClaim, record: s.m.number(first)} })
	if err != nil {
		return domain.Claim{}, err
	}
	return domain.Claim{
		State: domain.ClaimState(got.claim), Record: s.m.records[got.record], Revision: uint64(got.revision),
	}, nil
}

// Update knows its own write again where an answer was lost, and announces it, as the ledger does.
func (s *script) Update(ctx context.Context, rec passcode.Result, revision uint64) (next uint64, err error) {
	written := s.m.number(rec)
	var unsure, own bool
	err = retry.Do(ctx, func(context.Context) error {
		got, err := s.ask(func() op { return op{kind: opUpdate, record: written, revision: uint8(revision)} })
		if errors.Is(err, domain.ErrConflict) && unsure {
			found, readErr := s.ask(func() op { return op{kind: opGet} })
			if own = readErr == nil && found.record == written; own {
				got, err = found, nil
			}
		}
		unsure = unsure || errors.Is(err, errTrouble)
		next = uint64(got.revision)
		return err
	})
	if err == nil && own {
		err = s.retry(ctx, op{kind: opAnnounce, record: written})
	}
	return next, err
}

func (s *script) Get(context.Context, string) (passcode.Result, uint64, error) {
	got, err := s.ask(func() op { return op{kind: opGet} })
	if err != nil {
		return passcode.Result{}, 0, err
	}
	return s.m.records[got.record], uint64(got.revision), nil
}

// The limiter.

func (s *script) ReserveAhead(context.Context, passcode.Phone, string) func() (made, known bool) {
	got, err := s.ask(func() op { return op{kind: opAhead} })
	return func() (bool, bool) {
		if err == nil && got.ahead == aheadPending {
			got, err = s.ask(func() op { return op{kind: opAheadLate} })
		}
		return err == nil && got.ahead == aheadMade, err == nil && got.ahead == aheadKnown
	}
}

func (s *script) Reserve(_ context.Context, _ passcode.Phone, _ string, revision uint64, _ bool) (domain.Reservation, error) {
	got, err := s.ask(func() op { return op{kind: opReserve, revision: uint8(revision)} })
	return got.reservation, err
}

func (s *script) Release(ctx context.Context, _ passcode.Phone, _ string, revision uint64) error {
	return s.retry(ctx, op{kind: opRelease, revision: uint8(revision)})
}

func (s *script) CloseFor(ctx context.Context, _ passcode.Phone, d time.Duration) error {
	return s.retry(ctx, op{kind: opClose, window: ticks(d)})
}

// The sender.

func (s *script) Pace(context.Context) (func(), error) { return func() {}, nil }

func (s *script) Send(_ context.Context, _ domain.Message, notAfter time.Time) domain.Outcome {
	got, err := s.ask(func() op { return op{kind: opSend, ticks: tickOf(notAfter)} })
	if err != nil {
		return outcomes[outcomeLost]
	}
	return outcomes[got.outcome]
}

func (s *script) Lookup(_ context.Context, _ passcode.Phone, _ string, attemptedAt time.Time) (domain.Finding, error) {
	got, err := s.ask(func() op { return op{kind: opLookUp, ticks: tickOf(attemptedAt)} })
	return domain.Finding{State: domain.FindingState(got.found)}, err
}

// The dead letters.

func (s *script) Write(ctx context.Context, letter domain.DeadLetter) error {
	return s.retry(ctx, op{kind: opDeadLetter, reason: reasonNumber(letter.Reason)})
}

func reasonNumber(reason passcode.Reason) uint8 {
	for i, r := range passcode.Reasons() {
		if r == reason {
			return uint8(i)
		}
	}
	panic("no reason of a dead letter")
}

// The account is open; that jobs wait where it is not is no matter of this model.

func (s *script) Admit(context.Context) (domain.Admission, error) {
	return domain.Admission{Allowed: true}, s.do(op{kind: opAdmit})
}

func (s *script) Trip(context.Context, string, string) (time.Time, error) {
	return s.clock().Add(accountTicks * time.Second), nil
}
func (s *script) Passed(context.Context) error       { return nil }
func (s *script) Inconclusive(context.Context) error { return nil }

func (s *script) Parse(p passcode.Phone) (passcode.Phone, error) { return p, nil }

func (s *script) Announce(subject string, r passcode.Result) error {
	kind := uint8(opReply)
	switch {
	case subject == "passcode.result."+requestID:
		kind = opAnnounce
	case !r.Final:
		return nil // on the way nothing is promised to a reply subject
	}
	r.Duplicate = false // whom it is told to is not what the model is about
	_, err := s.ask(func() op { return op{kind: kind, record: s.m.number(r)} })
	return err
}

const requestID = "r1"

// body is the job as it stands in the stream.
func (m *model) body(j delivered) []byte {
	key := delivered{seq: j.seq, expires: j.expires}
	if body, ok := m.bodies[key]; ok {
		return body
	}
	body := fmt.Appendf(nil, `{"request_id":%q,"phone":"+8613812345678","code":"004213","reply_to":"_INBOX.%d","expires_at":%q}`,
		requestID, j.seq, at(j.expires).Format(time.RFC3339))
	m.bodies[key] = body
	return body
}

// number gives equal records the same number, from 1.
func (m *model) number(rec passcode.Result) int32 {
	key, err := json.Marshal(rec)
	if err != nil {
		panic(err) // a record always marshals
	}
	n, ok := m.numbers[string(key)]
	if !ok {
		n = int32(len(m.records))
		m.records = append(m.records, rec)
		m.numbers[string(key)] = n
	}
	return n
}

// What becomes of a call.
const (
	outcomeOK = iota
	outcomeTransient
	outcomeConfig
	outcomeLimited
	outcomeRecipient
	outcomeAccount
	outcomeLost
	outcomeTooLate
)

var outcomes = [...]domain.Outcome{
	outcomeOK:        {Class: passcode.ClassOK, Code: "OK", BizID: "B^0", ProviderRequestID: "P"},
	outcomeTransient: {Class: passcode.ClassThrottled, Code: "Throttling.User"},
	outcomeConfig:    {Class: passcode.ClassConfig, Code: "isv.SMS_TEMPLATE_ILLEGAL"},
	outcomeLimited: {
		Class: passcode.ClassPhoneLimited, Code: "isv.BUSINESS_LIMIT_CONTROL", Window: time.Hour, ProviderRequestID: "P",
	},
	outcomeRecipient: {Class: passcode.ClassRecipient, Code: "isv.MOBILE_NUMBER_ILLEGAL"},
	outcomeAccount:   {Class: passcode.ClassAccount, Code: "isv.AMOUNT_NOT_ENOUGH"},
	outcomeLost:      {Class: passcode.ClassInDoubt, Code: "eof"},
	outcomeTooLate:   {Class: passcode.ClassTransient, Code: "too_late", NotMade: true},
}
