package model_test

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/consumer"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/ratelimit"
	"github.com/passcode-worker/passcode-worker/internal/telemetry"
	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/buckettest"
)

// Times of the model, in seconds.
const (
	leaseTicks   = 30
	callTicks    = 5 // aliyun.timeout: of the fence, and of a message on its way
	accountTicks = 3
)

const (
	maxJobs    = 4
	maxWorkers = 2
	maxWires   = 3
)

// state is the whole world at one moment. It is comparable, so that a state that was seen before is known
// again; what is large stands in tables of the model and here by its number.
type state struct {
	now      int16
	record   int32 // the request's, 0 where there is none
	revision uint8
	// heard is true once the record, as it stands, was announced.
	heard bool
	// finals are the final statuses that the request ever had, as bits.
	finals uint16
	limits int32

	jobs    [maxJobs]modelJob // by stream sequence, from 1
	letters [maxJobs]letter   // by the stream sequence of their job
	workers [maxWorkers]modelWorker
	wires   [maxWires]wire

	accepted   uint8 // messages of the request that Aliyun took
	acceptedAt int16 // the first of them
	others     uint8 // messages of the phone's other request
	// lookUpFailed is true once a look-up got no answer.
	lookUpFailed bool
	// froze is true once a worker was frozen.
	froze bool

	operator operator
	left     budget
}

// budget is what may still happen.
type budget struct {
	mishaps, duplicates, purges, replays, others, accounts int8
}

type modelJob struct {
	phase   uint8
	replay  uint8
	heard   bool // its reply subject was told a final status
	again   bool // it was delivered before
	due     int16
	expires int16
}

// The phases of a job.
const (
	jobAbsent = iota
	jobStored
	jobGone
)

// letter is the dead letter of one job.
type letter struct {
	known  bool // the stream knows its message id
	stored bool
	reason uint8
}

type modelWorker struct {
	node     int32 // in the tree; 0: idle
	seq      uint8 // of the job in hand
	waiting  bool  // for Aliyun's answer
	frozen   bool
	frozenAt int16
}

// wire is one message to Aliyun.
type wire struct {
	phase    uint8
	worker   uint8 // that waits for the answer, from 1; 0: nobody does any more
	outcome  uint8 // that is on its way back
	deadline int16
}

// The phases of a message.
const (
	wireFree = iota
	wireOut  // on its way to Aliyun
	wireBack // decided, and the answer is on its way back
)

// operator replays one dead letter.
type operator struct {
	phase   uint8
	seq     uint8 // the dead letter's job
	number  uint8
	expires int16
}

// The phases of a replay: looked, published, removed.
const (
	operatorIdle = iota
	operatorPublishes
	operatorRemoves
	operatorFoundIt // published before, by another replay
)

// model is one search: its settings, its tables, and what it saw.
type model struct {
	settings
	log     *slog.Logger
	metrics consumer.Metrics
	tree    tree
	records []passcode.Result
	numbers map[string]int32
	bodies  map[delivered][]byte

	limits      []limits
	limitsIndex map[string]int32
	limited     map[limitCall]limitAnswer

	runs int // of the real Handle
}

// settings are what a search is about.
type settings struct {
	policy  consumer.Policy
	effects []consumer.Effect
	// expires is when the job's code runs out, ttl the life that the operator gives a replayed one.
	expires, ttl int16
	// blindUntil is when look-ups begin to find anything, and the operator to replay.
	blindUntil int16
	// answers are the outcomes that Aliyun may choose from.
	answers []uint8
	// transit is how long a message may be on its way, lag how long after Aliyun
	// took it a look-up may not find it.
	transit, lag int16
	// ahead is by how much each worker's clock is.
	ahead [maxWorkers]int16
	left  budget
	// late has reservations ahead made after their claims, too.
	late bool
	// deathsOnly has workers die and freeze, and every operation succeed.
	deathsOnly bool
}

func newModel(s settings) *model {
	if s.effects == nil {
		s.effects = consumer.EffectsInOrder
	}
	return &model{
		settings: s, log: slog.New(slog.DiscardHandler), metrics: telemetry.NewMetrics(nil), tree: newTree(),
		records: make([]passcode.Result, 1), numbers: map[string]int32{}, bodies: map[delivered][]byte{},
		limits: make([]limits, 1), limitsIndex: map[string]int32{"": 0}, limited: map[limitCall]limitAnswer{},
	}
}

func (m *model) start() state {
	s := state{left: m.left}
	s.jobs[0] = modelJob{phase: jobStored, expires: m.expires}
	return s
}

// limits is what the limiter knows of the phone. Between two calls it is taken out
// of the limiter, so that a state can be kept.
type limits struct {
	known   bool // there is a document
	entries []ratelimit.Entry
	closed  time.Time
}

type limitCall struct {
	limits  int32
	kind    uint8
	other   bool // the call is for the phone's other request
	attempt uint8
	now     int16
	seconds int16
}

type limitAnswer struct {
	limits      int32
	reservation domain.Reservation
}

const otherRequest = "r2"

var (
	limitRules = []domain.Rule{{Max: 1, Window: time.Hour}}
	modelPhone = passcode.NewPhone("+8613812345678")
)

// limit makes a call to the real limiter's judgement.
func (m *model) limit(call limitCall) limitAnswer {
	if answer, ok := m.limited[call]; ok {
		return answer
	}
	now := at(call.now)
	clock := now
	store := buckettest.New(nil)
	l, err := ratelimit.New(ctxOfModel, store.Bucket(), ratelimit.Options{
		Rules: limitRules, Key: passcode.NewSecret("secret"), Now: func() time.Time { return clock },
	})
	must(err)
	before := m.limits[call.limits]
	if before.known {
		_, err = l.Reserve(ctxOfModel, modelPhone, otherRequest, 0, false)
		must(err)
		must(l.Release(ctxOfModel, modelPhone, otherRequest, 0))
	}
	for _, e := range before.entries {
		clock = e.At
		_, err := l.Reserve(ctxOfModel, modelPhone, e.RequestID, e.Revision, true)
		must(err)
	}
	clock = now
	must(l.CloseFor(ctxOfModel, modelPhone, before.closed.Sub(now)))
	id := requestID
	if call.other {
		id = otherRequest
	}
	var answer limitAnswer
	switch call.kind {
	case opAhead:
		made, _ := l.ReserveAhead(ctxOfModel, modelPhone, id)()
		answer.reservation.Allowed = made
	case opReserve:
		answer.reservation, err = l.Reserve(ctxOfModel, modelPhone, id, uint64(call.attempt), before.known)
	case opRelease:
		err = l.Release(ctxOfModel, modelPhone, id, uint64(call.attempt))
	case opClose:
		err = l.CloseFor(ctxOfModel, modelPhone, time.Duration(call.seconds)*time.Second)
	}
	must(err)
	shown, err := l.Show(ctxOfModel, modelPhone)
	must(err)
	after := limits{known: len(store.Keys()) > 0, entries: shown.Entries, closed: shown.ClosedUntil}
	key := ""
	if after.known {
		key = fmt.Sprint(after.entries, after.closed.Unix())
	}
	n, ok := m.limitsIndex[key]
	if !ok {
		n = int32(len(m.limits))
		m.limits = append(m.limits, after)
		m.limitsIndex[key] = n
	}
	answer.limits = n
	m.limited[call] = answer
	return answer
}

// holdsReservation reports whether the request has a reservation.
func (m *model) holdsReservation(s *state) bool {
	for _, e := range m.limits[s.limits].entries {
		if e.RequestID == requestID {
			return true
		}
	}
	return false
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
