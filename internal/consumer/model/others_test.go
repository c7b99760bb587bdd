package model_test

import (
	"time"

	"github.com/passcode-worker/passcode-worker/internal/deadletter"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// operate adds what the operator does: a replay, which may be cut off.
func (x *expansion) operate() {
	o := x.from.operator
	if o.phase != operatorIdle && x.from.left.mishaps > 0 {
		s := x.from
		s.left.mishaps--
		s.operator = operator{}
		x.emit(s, step{what: "the operator's replay is killed"})
	}
	s := x.from
	switch o.phase {
	case operatorIdle:
		x.plan()
	case operatorPublishes:
		x.publish(s, o)
	case operatorFoundIt:
		s.operator = operator{}
		what := "the operator refuses: the replay is queued"
		if s.record != 0 && x.m.records[s.record].Replays >= int(o.number) {
			s.letters[o.seq-1].stored = false
			what = "the operator removes the dead letter of a replay that was taken up"
		}
		x.emit(s, step{what: what})
	case operatorRemoves:
		s.letters[o.seq-1].stored = false
		s.operator = operator{}
		x.emit(s, step{what: "the operator removes the dead letter of job", n: int16(o.seq)})
	}
}

// plan has the operator look at each dead letter, and decide as the program does.
func (x *expansion) plan() {
	if x.from.left.replays == 0 || x.from.now < x.m.blindUntil {
		return
	}
	for i, l := range x.from.letters {
		if !l.stored {
			continue
		}
		job := x.from.jobs[i]
		body := x.m.body(delivered{seq: uint8(i + 1), expires: job.expires})
		var record *passcode.Result
		if x.from.record != 0 {
			record = &x.m.records[x.from.record]
		}
		plan := deadletter.Decide(deadletter.Stored{Seq: uint64(i + 1), Entry: deadletter.Entry{DeadLetter: domain.DeadLetter{
			Reason: passcode.Reasons()[l.reason], RequestID: requestID, Replays: int(job.replay), Body: body,
			Origin: domain.Origin{Stream: "PASSCODE", Seq: uint64(i + 1), QueuedAt: noon},
		}}}, record, at(x.from.now), deadletter.Life{TTL: time.Duration(x.m.ttl) * time.Second, PasscodeTTL: x.m.policy.PasscodeTTL})
		s := x.from
		s.operator = operator{seq: uint8(i + 1), number: uint8(plan.Number)}
		switch plan.Action {
		case deadletter.Replayed:
			s.left.replays--
			s.operator.phase, s.operator.expires = operatorPublishes, tickOf(plan.ExpiresAt)
			x.emit(s, step{what: "the operator decides to replay job", n: int16(i + 1)})
		case deadletter.Already:
			s.operator.phase = operatorRemoves
			x.emit(s, step{what: "the operator finds the replay taken up of job", n: int16(i + 1)})
		default: // refused: nothing happens
		}
	}
}

// publish has the stream take the job, unless it knows the replay's message id.
func (x *expansion) publish(s state, o operator) {
	for i := range s.jobs {
		switch {
		case s.jobs[i].phase == jobAbsent:
			s.jobs[i] = modelJob{phase: jobStored, replay: o.number, due: s.now, expires: o.expires}
			s.operator.phase = operatorRemoves
			x.emit(s, step{what: "the operator publishes job", n: int16(i + 1)})
			return
		case s.jobs[i].replay == o.number:
			s.operator.phase = operatorFoundIt
			x.emit(s, step{what: "the operator publishes a job that the stream knows"})
			return
		}
	}
	x.violate("the model has too few jobs")
	x.emit(s, step{what: "the operator publishes a job"})
}

// others adds what producers do, and the wait of a job in the stream.
func (x *expansion) others() {
	if x.from.left.duplicates > 0 {
		for i := range x.from.jobs {
			if x.from.jobs[i].phase == jobAbsent {
				s := x.from
				s.left.duplicates--
				s.jobs[i] = modelJob{phase: jobStored, due: s.now, expires: x.m.expires}
				x.emit(s, step{what: "a producer repeats the request as job", n: int16(i + 1)})
				break
			}
		}
	}
	if x.from.left.purges > 0 && x.from.jobs[0].phase == jobStored {
		s := x.from
		s.left.purges--
		s.jobs[0].phase, s.jobs[0].due = jobGone, 0
		s.jobs[1] = modelJob{phase: jobStored, due: s.now, expires: x.m.expires}
		x.emit(s, step{what: "somebody purges the stream, and a producer repeats the request as job", n: 2})
	}
	if x.from.left.others > 0 {
		s := x.from
		s.left.others--
		answer := x.m.limit(limitCall{limits: s.limits, kind: opReserve, other: true, now: s.now})
		if s.limits = answer.limits; answer.reservation.Allowed {
			s.others++
			x.emit(s, step{what: "another request of the same phone is sent"})
		}
	}
	for i, job := range x.from.jobs {
		if x.from.left.mishaps > 0 && job.phase == jobStored && job.due < job.expires && !x.from.inHand(uint8(i+1)) {
			s := x.from
			s.left.mishaps--
			s.jobs[i].due = job.expires
			x.emit(s, step{what: "nobody takes, until its code has expired, job", n: int16(i + 1)})
		}
	}
}

func (s *state) inHand(seq uint8) bool {
	for w := range s.workers {
		if s.workers[w].node != 0 && s.workers[w].seq == seq {
			return true
		}
	}
	return false
}

// pass lets time pass to the next moment at which something may change. Whoever
// is neither frozen nor waiting acts first: what it does takes no time.
func (x *expansion) pass() {
	next, ok := x.nextInstant()
	if !ok || x.from.operator.phase != operatorIdle {
		return
	}
	for w := range x.from.workers {
		worker := &x.from.workers[w]
		if worker.node != 0 && !worker.frozen && !worker.waiting {
			return
		}
	}
	for i := range x.from.wires {
		switch wire := &x.from.wires[i]; wire.phase {
		case wireOut:
			if wire.deadline <= x.from.now {
				return
			}
		case wireBack:
			if !x.from.workers[wire.worker-1].frozen {
				return
			}
		}
	}
	if x.from.idle() >= 0 {
		for i := range x.from.jobs {
			if x.from.jobs[i].phase == jobStored && x.from.jobs[i].due <= x.from.now {
				return
			}
		}
	}
	s := x.from
	s.now = next
	x.emit(s, step{what: "time passes"})
}

// nextInstant returns the next moment at which something changes by itself.
func (x *expansion) nextInstant() (next int16, ok bool) {
	consider := func(at int16) {
		if at > x.from.now && (!ok || at < next) {
			next, ok = at, true
		}
	}
	for i := range x.from.jobs {
		if x.from.jobs[i].phase == jobStored {
			consider(x.from.jobs[i].due)
		}
	}
	for _, l := range x.from.letters {
		if l.stored && x.from.left.replays > 0 {
			consider(x.m.blindUntil)
		}
	}
	for i := range x.from.wires {
		if x.from.wires[i].phase == wireOut {
			consider(x.from.wires[i].deadline)
		}
	}
	for w := range x.from.workers {
		worker := &x.from.workers[w]
		if worker.node == 0 || !worker.frozen {
			continue
		}
		ahead := x.m.ahead[w]
		if o := x.m.next(worker.node); o.kind == opSend && !worker.waiting {
			consider(o.ticks - ahead) // the fence: just open, and just closed
			consider(o.ticks - ahead + 1)
		}
		job := x.from.jobs[worker.seq-1]
		if job.phase == jobStored {
			consider(job.due - 1) // just before another gets it
		}
		consider(job.expires - ahead)
		// What the policy goes by, whosever attempt it was.
		if rec := x.m.records[x.from.record]; !rec.AttemptedAt.IsZero() {
			attempted := tickOf(rec.AttemptedAt)
			for _, planned := range x.m.policy.Lookups {
				consider(attempted + ticks(planned) - ahead)
			}
			consider(attempted + ticks(x.m.policy.CallBound) - ahead)
		}
	}
	return next, ok
}
