package model_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// What must hold. The names appear in traces and in TestModelFindsSwappedWrites.
const (
	atMostOnce      = "Aliyun took the request's message twice"
	overTheLimit    = "more was sent to the phone than its limits allow"
	noReservation   = "a message was sent without a reservation"
	reservationKept = "nothing was sent, and its reservation still stands"
	notClosed       = "Aliyun closed the phone, and our limiter left it open"
	finalChanged    = "a final record became another status by itself"
	withoutLetter   = "a record needs an operator, and there is no dead letter"
	leftUnrecorded  = "a job left the stream, and its request's record is not final"
	leftUnheard     = "a job left the stream, and its result was not announced"
	leftNoReply     = "a job left the stream, and its reply subject was not told"
	untrue          = "a result was announced that was never recorded"
	notSent         = "Aliyun took the message, and the record says otherwise"
	notAccepted     = "the record says sent, and Aliyun never took the message"
	stuck           = "nothing can happen any more, and the request has not come to its end"
)

// put makes a record the request's.
func (x *expansion) put(s *state, n int32) {
	next := x.m.records[n]
	if s.record != 0 {
		last := x.m.records[s.record]
		replayed := next.Replays > last.Replays && last.Status.Replayable()
		if last.Final && next.Status != last.Status && !replayed {
			x.violate(finalChanged)
		}
	}
	if next.Status.Replayable() && !s.letters[next.StreamSeq-1].known {
		x.violate(withoutLetter)
	}
	if next.Final {
		s.finals |= 1 << slices.Index(passcode.Statuses(), next.Status)
	}
	// The server announces it itself.
	s.record, s.revision, s.heard = n, s.revision+1, true
}

// announced looks at what a worker publishes by itself.
func (x *expansion) announced(s *state, n int32) {
	said := x.m.records[n]
	if said.Final && s.finals&(1<<slices.Index(passcode.Statuses(), said.Status)) == 0 {
		x.violate(untrue)
	}
}

// leave takes a job out of the stream.
func (x *expansion) leave(s *state, seq uint8) {
	job := &s.jobs[seq-1]
	if job.phase == jobGone {
		return // another worker's ack came first
	}
	job.phase, job.due = jobGone, 0
	if s.record == 0 {
		x.violate(leftUnrecorded)
		return
	}
	rec := x.m.records[s.record]
	owner := &s.jobs[rec.StreamSeq-1]
	switch {
	case rec.Final && !s.heard && (owner == job || owner.phase != jobStored):
		x.violate(leftUnheard)
	case owner == job && !rec.Final, owner != job && !rec.Final && owner.phase != jobStored:
		x.violate(leftUnrecorded)
	case owner == job && !job.heard:
		x.violate(leftNoReply)
	}
}

// check returns what is wrong with a state, empty where nothing is.
func (m *model) check(s *state) string {
	switch {
	case s.accepted > 1:
		return atMostOnce
	case int(s.accepted)+int(s.others) > limitRules[0].Max:
		return overTheLimit
	case s.accepted > 0 && !m.holdsReservation(s):
		return noReservation
	}
	return ""
}

// checkEnd returns what is wrong with a state after which nothing happens.
func (m *model) checkEnd(s *state) string {
	if s.record == 0 {
		return stuck
	}
	rec := m.records[s.record]
	for _, job := range s.jobs {
		if job.phase == jobStored {
			return stuck
		}
	}
	poison := rec.Error != nil && rec.Error.Class == passcode.ClassPoison
	surelyNot := false
	switch rec.Status {
	case passcode.StatusRateLimited, passcode.StatusRejected, passcode.StatusExpired:
		surelyNot = true
	case passcode.StatusDeadLettered:
		surelyNot = !poison
	}
	switch {
	case !rec.Final:
		return stuck
	case s.accepted > 0 && rec.Status != passcode.StatusSent && !m.excused(s, rec):
		return notSent
	case s.accepted == 0 && rec.Status == passcode.StatusSent:
		return notAccepted
	case rec.Status == passcode.StatusRateLimited && rec.Error.Code != "phone_limit" && m.limits[s.limits].closed.IsZero():
		return notClosed
	case surelyNot && m.holdsReservation(s) && !s.froze:
		// A worker that was frozen before it reserved does so when it wakes,
		// though nobody needs it any more; it ages out.
		return reservationKept
	}
	return ""
}

// excused: the record says that it does not know.
func (m *model) excused(s *state, rec passcode.Result) bool {
	switch rec.Status {
	case passcode.StatusUnknown:
		return s.lookUpFailed || !m.policy.Resend || m.blindUntil > 0
	case passcode.StatusDeadLettered:
		return rec.Error != nil && rec.Error.Class == passcode.ClassPoison
	default:
		return false
	}
}

// finding is the result of a search.
type finding struct {
	states, transitions, ends int
	wrong                     string // what does not hold, empty where all does
	trace                     []string
}

// search visits every state, those first that take the fewest steps, up to the first that breaks something.
func (m *model) search() finding {
	first := m.start()
	states := []state{first}
	parents := []int32{-1}
	seen := map[state]int32{first: 0}
	var f finding
	for i := 0; i < len(states); i++ {
		followed := 0
		m.expand(states[i], func(next state, by step, wrong string) {
			followed++
			if f.wrong != "" {
				return
			}
			f.transitions++
			if wrong != "" {
				f.wrong = wrong
				f.trace = append(m.trace(states, parents, int32(i)), m.line(states[i].now, by))
				return
			}
			if _, ok := seen[next]; !ok {
				seen[next] = int32(len(states))
				states = append(states, next)
				parents = append(parents, int32(i))
			}
		})
		if followed == 0 {
			f.ends++
			if f.wrong = m.checkEnd(&states[i]); f.wrong != "" {
				f.trace = m.trace(states, parents, int32(i))
			}
		}
		if f.wrong != "" {
			break
		}
	}
	f.states = len(states)
	return f
}

func (m *model) expand(from state, add func(next state, by step, wrong string)) {
	x := expansion{m: m, from: from, add: add}
	x.follow()
}

// trace tells the history of a state, a line a step.
func (m *model) trace(states []state, parents []int32, to int32) []string {
	var lines []string
	for ; parents[to] >= 0; to = parents[to] {
		from := states[parents[to]]
		var line string
		m.expand(from, func(next state, by step, _ string) {
			if line == "" && next == states[to] {
				line = m.line(from.now, by)
			}
		})
		lines = append(lines, line)
	}
	slices.Reverse(lines)
	return lines
}

func (m *model) line(now int16, by step) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%3ds  ", now)
	if by.who > 0 {
		fmt.Fprintf(&b, "worker %d ", by.who)
	}
	b.WriteString(by.what)
	if by.n > 0 {
		fmt.Fprintf(&b, " %d", by.n)
	}
	switch by.op.kind {
	case opClaim, opUpdate, opAnnounce, opReply:
		rec := m.records[by.op.record]
		fmt.Fprintf(&b, " [%s, attempt %d, job %d]", rec.Status, rec.Attempts, rec.StreamSeq)
	case opFindOwner:
		fmt.Fprintf(&b, " %d", by.op.revision)
	case opDeadLetter:
		fmt.Fprintf(&b, " [%s]", passcode.Reasons()[by.op.reason])
	case opNak:
		fmt.Fprintf(&b, " [%ds]", by.op.ticks)
	}
	return b.String()
}

func (f finding) String() string {
	if f.wrong == "" {
		return fmt.Sprintf("%d states, %d transitions, %d ends", f.states, f.transitions, f.ends)
	}
	return f.wrong + "\n  " + strings.Join(f.trace, "\n  ")
}
