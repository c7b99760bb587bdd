package model_test

import (
	"context"
	"slices"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/ledger"
	"github.com/passcode-worker/passcode-worker/passcode"
)

var ctxOfModel = context.Background()

// step is what leads from one state to the next, for people.
type step struct {
	what string
	who  uint8 // worker, from 1; 0: none
	op   op
	n    int16
}

// expansion collects the states that follow one.
type expansion struct {
	m     *model
	from  state
	add   func(next state, by step, wrong string)
	wrong string // what the step under way breaks
}

func (x *expansion) emit(next state, by step) {
	wrong := x.wrong
	x.wrong = ""
	if wrong == "" {
		wrong = x.m.check(&next)
	}
	x.add(next, by, wrong)
}

func (x *expansion) violate(what string) {
	if x.wrong == "" {
		x.wrong = what
	}
}

// follow adds all states that may follow.
func (x *expansion) follow() {
	for w := range x.from.workers {
		x.worker(w)
	}
	x.deliver()
	for i := range x.from.wires {
		x.wire(i)
	}
	x.operate()
	x.others()
	x.pass()
}

// advance tells worker w the answer to its operation.
func (x *expansion) advance(s *state, w int, got told) {
	got.now = s.now
	x.stand(s, w, branch{parent: s.workers[w].node, told: got})
}

// stand puts worker w at the end of a list of answers.
func (x *expansion) stand(s *state, w int, b branch) {
	worker := &s.workers[w]
	worker.node = x.m.tree.grow(b)
	worker.waiting = false
	if x.m.next(worker.node).kind == opReturn {
		*worker = modelWorker{}
	}
}

// worker adds what worker w may do, and what may happen to it.
func (x *expansion) worker(w int) {
	worker := x.from.workers[w]
	if worker.node == 0 {
		return
	}
	who := uint8(w + 1)
	if x.from.left.mishaps > 0 {
		s := x.from
		s.left.mishaps--
		s.workers[w] = modelWorker{}
		s.hangUp(who)
		x.emit(s, step{what: "dies, and another takes its place", who: who})
	}
	if worker.frozen {
		if _, later := x.nextInstant(); x.from.now > worker.frozenAt || !later {
			x.wake(w)
		}
		return
	}
	if x.from.left.mishaps > 0 {
		s := x.from
		s.left.mishaps--
		s.workers[w].frozen, s.workers[w].frozenAt, s.froze = true, s.now, true
		x.emit(s, step{what: "freezes", who: who})
	}
	if !worker.waiting {
		x.act(w, x.m.next(worker.node))
	}
}

// wake has a frozen worker go on: with its next operation, or before that with a look
// at the clock, which another time stands on now than when it got its last answer.
func (x *expansion) wake(w int) {
	s := x.from
	worker := &s.workers[w]
	worker.frozen, worker.frozenAt = false, 0
	x.emit(s, step{what: "wakes up", who: uint8(w + 1)})
	last := x.m.tree.nodes[worker.node].branch
	if worker.waiting || last.told.later > 0 || x.from.now == last.told.now {
		return
	}
	for looks := range x.m.looks(worker.node) {
		late := s
		last.told.looks, last.told.later = looks, s.now
		x.stand(&late, w, last)
		what := "wakes up before it has looked at the clock"
		if looks > 0 {
			what = "wakes up before it looks at the clock again, after looks"
		}
		x.emit(late, step{what: what, who: uint8(w + 1), n: int16(looks)})
	}
}

// hangUp leaves a message to itself whose sender no longer listens.
func (s *state) hangUp(who uint8) {
	for i := range s.wires {
		if s.wires[i].worker != who {
			continue
		}
		s.wires[i].worker = 0
		if s.wires[i].phase == wireBack {
			s.wires[i] = wire{}
		}
	}
}

// act carries out the operation that worker w is about to do; or has it fail, or its answer get lost.
func (x *expansion) act(w int, o op) {
	by := step{what: opNames[o.kind], who: uint8(w + 1), op: o}
	s := x.from
	got := told{}
	switch o.kind {
	case opAdmit:
		x.advance(&s, w, got)
		x.emit(s, by)
		return
	case opSend:
		x.send(s, w, by)
		return
	case opLookUp:
		x.lookUp(s, w, by)
		return
	case opAhead, opAheadLate:
		if o.kind == opAhead && x.m.late {
			pending := s
			x.advance(&pending, w, told{ahead: aheadPending})
			x.emit(pending, step{what: "is about to reserve ahead", who: by.who})
		}
		if !x.m.limits[s.limits].known {
			s.limits = x.m.limit(limitCall{limits: s.limits, kind: opAhead, now: s.now + x.m.ahead[w]}).limits
			got.ahead = aheadMade
		}
	case opReserve:
		answer := x.m.limit(limitCall{limits: s.limits, kind: opReserve, attempt: o.revision, now: s.now + x.m.ahead[w]})
		s.limits, got.reservation = answer.limits, answer.reservation
	case opRelease, opClose:
		s.limits = x.m.limit(limitCall{limits: s.limits, kind: o.kind, attempt: o.revision, now: s.now + x.m.ahead[w], seconds: o.window}).limits
	case opClaim:
		got = x.claim(&s, o.record)
	case opFindOwner:
		got.waits = s.jobs[o.revision-1].phase == jobStored
	case opUpdate:
		got = x.update(&s, o)
	case opGet:
		got.record, got.revision = s.record, s.revision
		if s.record == 0 {
			got.err = notFoundTold
		}
	case opDeadLetter:
		s.write(s.workers[w].seq, o.reason)
	case opAnnounce:
		s.heard = s.heard || sameAnnouncement(x.m.records[o.record], x.m.records[s.record])
		x.announced(&s, o.record)
	case opReply:
		x.announced(&s, o.record)
		if x.m.records[o.record].Final {
			s.jobs[s.workers[w].seq-1].heard = true
		}
	case opAck, opTerm:
		x.leave(&s, s.workers[w].seq)
	case opNak:
		if job := &s.jobs[s.workers[w].seq-1]; job.phase == jobStored {
			job.due = s.now + o.ticks
		}
	}
	x.settle(s, w, o, got, by)
}

// settle adds the operation with its answer, and what else may become of the two.
func (x *expansion) settle(s state, w int, o op, got told, by step) {
	wrong := x.wrong
	done := s
	x.advance(&done, w, got)
	x.emit(done, by)
	if s.left.mishaps == 0 || x.m.deathsOnly {
		return
	}
	lost := func(s state, err uint8, what string) {
		s.left.mishaps--
		x.wrong = wrong
		x.advance(&s, w, told{err: err})
		x.emit(s, step{what: by.what + what, who: by.who, op: by.op})
	}
	switch o.kind {
	case opAck, opNak, opTerm:
		// What is published is all the worker knows of.
		wrong = ""
		lost(x.from, noError, ", which gets lost")
	case opClaim, opUpdate:
		// A leader that dies with the answer may not have announced the record.
		unheard := s
		unheard.heard = x.from.heard && x.from.revision == s.revision
		lost(unheard, errTold, ", and the answer gets lost")
		if o.kind == opClaim || x.m.records[o.record].Status == passcode.StatusSending {
			wrong = "" // others are insisted upon: to fail is to be done later
			lost(x.from, errTold, ", which fails")
		}
	case opAhead, opAheadLate, opReserve:
		lost(s, errTold, ", and the answer gets lost")
		lost(x.from, errTold, ", which fails")
	case opRelease, opClose, opDeadLetter:
		lost(s, errTold, ", and the answer gets lost")
	case opAnnounce:
		wrong = ""
		lost(x.from, errTold, ", which fails")
	case opFindOwner:
		lost(x.from, errTold, ", and gets no answer")
	}
}

func sameAnnouncement(told, stored passcode.Result) bool {
	return told.Status == stored.Status && told.Replays == stored.Replays
}

// claim is the ledger's, whose parts are atomic together: it creates the record,
// or judges the one it read, or swaps it for exactly that one.
func (x *expansion) claim(s *state, first int32) told {
	if s.record == 0 {
		x.put(s, first)
		return told{claim: uint8(domain.ClaimWon), record: first, revision: s.revision}
	}
	found := s.record
	state := domain.Judge(x.m.records[first], x.m.records[found])
	if state == domain.ClaimReopened {
		opened := x.m.number(ledger.Reopen(x.m.records[first], x.m.records[found]))
		x.put(s, opened)
		return told{claim: uint8(state), record: opened, revision: s.revision}
	}
	return told{claim: uint8(state), record: found, revision: s.revision}
}

func (x *expansion) update(s *state, o op) told {
	if s.record == 0 || s.revision != o.revision {
		return told{err: conflictTold}
	}
	x.put(s, o.record)
	return told{revision: s.revision}
}

// write stores a dead letter: once for each message id while the request has any,
// and the newest for each reason.
func (s *state) write(seq, reason uint8) {
	l := &s.letters[seq-1]
	if l.known && slices.ContainsFunc(s.letters[:], func(l letter) bool { return l.stored }) {
		return
	}
	for i := range s.letters {
		if s.letters[i].reason == reason {
			s.letters[i].stored = false
		}
	}
	*l = letter{known: true, stored: true, reason: reason}
}

// deliver gives a job that is due to a worker that has none.
func (x *expansion) deliver() {
	w := x.from.idle()
	if w < 0 {
		return
	}
	if last := maxWorkers - 1; x.m.ahead[last] != 0 && x.from.record != 0 && x.from.workers[last].node == 0 {
		w = last // whose clock is another than that of who began
	}
	for i := range x.from.jobs {
		job := x.from.jobs[i]
		if job.phase != jobStored || job.due > x.from.now {
			continue
		}
		s := x.from
		s.jobs[i].due, s.jobs[i].again = s.now+leaseTicks, true
		s.workers[w] = modelWorker{seq: uint8(i + 1), node: x.m.tree.grow(branch{
			told: told{now: s.now},
			job:  delivered{seq: uint8(i + 1), replay: job.replay, worker: uint8(w), expires: job.expires, again: job.again},
		})}
		x.emit(s, step{what: "gets job", who: uint8(w + 1), n: int16(i + 1)})
	}
}

// idle returns a worker without a job, -1 where both have one. Of two it makes no
// difference which, as long as their clocks agree.
func (s *state) idle() int {
	for w := range s.workers {
		if s.workers[w].node == 0 {
			return w
		}
	}
	return -1
}
