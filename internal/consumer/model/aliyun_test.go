package model_test

import (
	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// send begins a call, unless it is past the fence.
func (x *expansion) send(s state, w int, by step) {
	if s.now+x.m.ahead[w] > by.op.ticks {
		x.advance(&s, w, told{outcome: outcomeTooLate})
		by.what = "sends nothing: the fence is closed"
		x.emit(s, by)
		return
	}
	for i := range s.wires {
		if s.wires[i].phase == wireFree {
			s.wires[i] = wire{phase: wireOut, worker: by.who, deadline: s.now + x.m.transit}
			s.workers[w].waiting = true
			x.emit(s, by)
			return
		}
	}
	x.violate("the model has too few wires")
	x.emit(s, by)
}

// lookUp finds what Aliyun took. What it took just now may not be listed yet, and
// what it took before the time asked for may stand under an earlier day.
func (x *expansion) lookUp(s state, w int, by step) {
	found := func(s state, state domain.FindingState, what string) {
		x.advance(&s, w, told{found: uint8(state)})
		by := by
		by.what += what
		x.emit(s, by)
	}
	if s.accepted > 0 {
		found(s, domain.Accepted, ": Aliyun has it")
	}
	if s.accepted == 0 || s.now-s.acceptedAt < x.m.lag || s.now < x.m.blindUntil || s.acceptedAt < by.op.ticks {
		found(s, domain.NotFound, ": nothing is found")
	}
	if s.left.mishaps > 0 && !x.m.deathsOnly {
		s.left.mishaps--
		s.lookUpFailed = true
		x.advance(&s, w, told{err: lookUpFailed})
		by.what += ", and gets no answer"
		x.emit(s, by)
	}
}

// wire adds what may become of a message on its way.
func (x *expansion) wire(i int) {
	from := x.from.wires[i]
	if from.phase == wireFree {
		return
	}
	w := int(from.worker) - 1
	listens := w >= 0 && !x.from.workers[w].frozen
	lose := func(s state, what string) { // the worker gets no answer
		x.advance(&s, w, told{outcome: outcomeLost})
		s.hangUp(from.worker)
		x.emit(s, step{what: what, who: from.worker})
	}
	if from.phase == wireBack {
		if listens {
			s := x.from
			s.wires[i] = wire{}
			x.advance(&s, w, told{outcome: from.outcome})
			x.emit(s, step{what: "gets the answer " + string(outcomes[from.outcome].Class), who: from.worker})
			lose(x.from, "gets no answer")
		}
		return
	}
	for _, outcome := range x.m.answers {
		s := x.from
		if outcome == outcomeAccount {
			if s.left.accounts == 0 {
				continue
			}
			s.left.accounts--
		}
		what := "Aliyun refuses the message: " + string(outcomes[outcome].Class)
		if outcome == outcomeOK {
			what = "Aliyun takes the message"
			if s.accepted == 0 {
				s.acceptedAt = s.now
			}
			s.accepted++
		}
		s.wires[i] = wire{phase: wireBack, worker: from.worker, outcome: outcome}
		if from.worker == 0 {
			s.wires[i] = wire{}
		}
		x.emit(s, step{what: what})
	}
	s := x.from
	s.wires[i] = wire{}
	if w < 0 {
		x.emit(s, step{what: "the message gets lost on its way"})
		return
	}
	if listens {
		x.advance(&s, w, told{outcome: outcomeLost})
		x.emit(s, step{what: "loses the connection, and the message is lost", who: from.worker})
		if x.m.transit > 0 {
			lose(x.from, "loses the connection, and the message goes on")
		}
		return
	}
	s = x.from
	s.wires[i] = wire{phase: wireBack, worker: from.worker, outcome: outcomeLost}
	x.emit(s, step{what: "the message gets lost on its way"})
}
