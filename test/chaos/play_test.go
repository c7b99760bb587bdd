package chaos

import (
	"cmp"
	"slices"
	"syscall"
	"time"

	"github.com/passcode-worker/passcode-worker/test/harness"
)

// step is the beginning or the end of an event.
type step struct {
	at time.Duration
	do func()
}

// play has every event begin and end at its time. Events may overlap: a worker
// may be killed while it is frozen and its link cut.
func (s *system) play(events []event) {
	var steps []step
	for _, e := range events {
		end := func() {}
		steps = append(steps,
			step{e.at, func() { end = s.begin(e) }},
			step{e.at + e.lasts, func() { end() }})
	}
	slices.SortStableFunc(steps, func(a, b step) int { return cmp.Compare(a.at, b.at) })
	for _, st := range steps {
		s.waitUntil(st.at)
		st.do()
		s.catchUp(st.at)
	}
}

// begin has an event begin, and returns what ends it.
func (s *system) begin(e event) (end func()) {
	switch e.kind {
	case killWorker, stopWorker, freezeWorker, cutBroker, stallBroker, cutAliyun, stallAliyun:
		w := s.aWorker(e.target)
		if w == nil {
			return func() {}
		}
		return s.beginWorker(e, w)
	case killBroker, stopBroker, freezeBroker:
		b := s.brokers[e.target%uint64(len(s.brokers))]
		if !up(b.proc) || b.frozen {
			return func() {}
		}
		return s.beginBroker(e, b)
	case election:
		return s.stepDown(e)
	case fault:
		return s.misbehave(e, e.fault)
	case balance:
		return s.misbehave(e, "code=isv.AMOUNT_NOT_ENOUGH")
	case replay:
		return s.beginReplay(e)
	}
	panic("no such event: " + e.kind)
}

// count notes that an event happened. what names it in the summary.
func (s *system) count(e event, who string) {
	s.done[string(e.kind)]++
	s.history.add(who, "%s", e)
}

// aWorker is one that runs, the target or one after it; nil where none does.
func (s *system) aWorker(target uint64) *worker {
	for i := range s.workers {
		w := s.workers[(target+uint64(i))%uint64(len(s.workers))]
		if up(w.proc) {
			return w
		}
	}
	return nil
}

func (s *system) beginWorker(e event, w *worker) (end func()) {
	link := w.toBroker[e.target%uint64(len(w.toBroker))]
	restart := func() {
		if !up(w.proc) {
			s.startWorker(w)
			s.history.add(w.name, "started")
		}
	}
	s.count(e, w.name)
	switch e.kind {
	case killWorker:
		w.proc.Kill()
		return restart
	case stopWorker:
		tell(w.proc, syscall.SIGCONT) // a frozen one hears nothing
		tell(w.proc, syscall.SIGTERM)
		return restart
	case freezeWorker:
		frozen := w.proc
		tell(frozen, syscall.SIGSTOP)
		if e.lasts > lease {
			s.done["worker frozen beyond its lease"]++
		}
		return s.ends(e, w.name, func() { tell(frozen, syscall.SIGCONT) })
	default:
		trouble := map[kind]func(by int){
			cutBroker: link.cut, stallBroker: link.stall, cutAliyun: w.toAliyun.cut, stallAliyun: w.toAliyun.stall,
		}[e.kind]
		trouble(1)
		return s.ends(e, w.name, func() { trouble(-1) })
	}
}

func (s *system) beginBroker(e event, b *broker) (end func()) {
	s.count(e, b.name)
	switch e.kind {
	case killBroker:
		b.proc.Kill()
	case stopBroker:
		tell(b.proc, syscall.SIGTERM)
	default:
		tell(b.proc, syscall.SIGSTOP)
		b.frozen = true
		return s.ends(e, b.name, func() {
			tell(b.proc, syscall.SIGCONT)
			b.frozen = false
		})
	}
	return func() {
		b.proc.Wait(readyWithin) // a server that stops in order takes its time
		// The workers come back after the listener, or it could miss a result.
		s.links(b, 1)
		s.startBroker(b)
		s.hearsAgain(b)
		s.links(b, -1)
		s.history.add(b.name, "started")
	}
}

// led is what has a leader on a cluster: the worker writes to each of them, or
// acknowledges to it.
var led = []string{
	"STREAM.LEADER.STEPDOWN.PASSCODE", "CONSUMER.LEADER.STEPDOWN.PASSCODE.passcode-worker",
	"STREAM.LEADER.STEPDOWN.KV_passcode-requests", "STREAM.LEADER.STEPDOWN.KV_passcode-limits",
	"STREAM.LEADER.STEPDOWN.PASSCODE_DEAD",
}

// stepDown has one leader step down, so that another is elected in the middle of
// whatever is being written.
func (s *system) stepDown(e event) (end func()) {
	if s.nodes > 1 {
		what := led[e.target%uint64(len(led))]
		s.count(e, what)
		// Where there is no leader at this moment, there is nobody to answer either.
		_ = s.js.Conn().Publish("$JS.API."+what, nil)
	}
	return func() {}
}

// links cuts every worker's link to a server, or restores it.
func (s *system) links(b *broker, by int) {
	n := slices.Index(s.brokers, b)
	for _, w := range s.workers {
		w.toBroker[n].cut(by)
	}
}

// misbehave sets a fault in the emulator for as long as the event lasts.
func (s *system) misbehave(e event, spec string) (end func()) {
	s.count(e, "Aliyun "+spec)
	s.faults[spec]++
	s.setFaults()
	return s.ends(e, "Aliyun "+spec, func() {
		s.faults[spec]--
		s.setFaults()
		if e.kind == balance {
			// The pause would last half a minute. An operator who paid ends it, as
			// soon as the broker hears him.
			s.operator = append(s.operator, s.beginCommand("resume"))
		}
	})
}

// beginReplay has an operator replay what is dead, as fast as it goes.
func (s *system) beginReplay(e event) (end func()) {
	s.count(e, "operator")
	p := s.beginCommand(replayArgs...)
	s.operator = append(s.operator, p)
	return func() {
		if up(p) {
			s.done["operator's replay killed"]++
			p.Kill()
		}
	}
}

// replayArgs replay whatever may be sent after all. A job that breaks a rule
// would only be refused again.
var replayArgs = []string{
	"dlq", "replay", "--reason", "config", "--reason", "exhausted", "--reason", "unknown", "--reason", "poison",
	"--ttl", "10m", "--rate", "1000/s",
}

func (s *system) ends(e event, who string, end func()) func() {
	return func() {
		end()
		s.history.add(who, "%s: over", e.kind)
	}
}

// replayAll replays until nothing is left that can be: what was sent meanwhile
// stays, and so do the jobs that break a rule.
func (s *system) replayAll() {
	s.t.Helper()
	for range maxReplays {
		before := s.deadLetters()
		open := 0
		for _, d := range before {
			if d.reason != "invalid" && s.record(d.id).Status.Replayable() {
				open++
			}
		}
		if open == 0 {
			return
		}
		s.history.add("operator", "replays what is left: %d of %d dead letters", open, len(before))
		p := s.command(replayArgs...)
		s.history.add("operator", "%s", harness.Tail(p.Output()))
		s.untilSettled()
	}
	s.t.Errorf("dead letters are left that can be replayed, after %d replays", maxReplays)
}

// maxReplays bounds how often an operator has to replay in peace.
const maxReplays = 5
