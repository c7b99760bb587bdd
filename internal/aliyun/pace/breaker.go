package pace

import (
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// When an outage breaker opens, and how often it then probes.
const (
	// openAfter is how many requests must fail in a row. They are not calls: a few jobs
	// at a dead endpoint may use up their attempts without opening it.
	openAfter = 20
	// silentTime is how long no call must have been answered. It outlasts a restart at
	// Aliyun, and ends before jobs use up the attempts of the default settings (7.75 s).
	silentTime = 5 * time.Second
	// failedTime is how long every answer must have been that the service is
	// unavailable. It is longer, because Aliyun is there and may answer others.
	failedTime = 30 * time.Second
	// Each failed probe doubles the pause until the next.
	firstPause = time.Second
	lastPause  = 15 * time.Second
	// blindEach is how many probes in a row may end with their look-up. The next is sent
	// even so, in case only look-ups fail.
	blindEach = 7
)

// OutageBreaker stops a worker's calls while Aliyun is down: unreachable, silent, or unavailable for long. Such
// calls would cost jobs their attempts, or leave them in doubt. After each pause one call, the probe, finds out
// whether Aliyun is back. Then the pace grows from its floor. Throttling is left to the pacer.
//
// A probe looks its request up before it sends it. If the look-up gets no answer, the job is requeued unchanged.
//
// The breaker judges by this worker's calls alone: others may have another network. So
// while it is open the worker takes few jobs from the stream, [Min] a second.
type OutageBreaker struct {
	*pacer   // held at its floor while the breaker is open
	log      *slog.Logger
	patience time.Duration // how long a probe may take before another is made

	mu     sync.Mutex
	silent streak // calls since the last that was answered
	failed streak // calls since the last that succeeded
	outage Outage
	probe  string // the request of the probe in progress
	level  int    // probes that failed since it opened
	blind  int    // probes since then that ended with their look-up, in a row
}

// New returns a closed breaker, and its pacer with a cap of calls a second (0: none). A
// call takes at most callTimeout. The breaker is safe for concurrent use.
func New(maxQPS float64, callTimeout time.Duration, now func() time.Time, log *slog.Logger) *OutageBreaker {
	return &OutageBreaker{pacer: newPacer(maxQPS, now), log: log, patience: 2 * callTimeout}
}

// streak is calls that failed one after the other.
type streak struct {
	requests map[string]struct{} // as many as matter
	since    time.Time           // when the first of the calls began
}

func (r *streak) add(requestID string, began time.Time) {
	if len(r.requests) == 0 {
		r.requests, r.since = map[string]struct{}{}, began
	}
	if len(r.requests) < openAfter {
		r.requests[requestID] = struct{}{}
	}
}

// opens says whether the streak is long enough, in requests and in time.
func (r *streak) opens(now time.Time, after time.Duration) bool {
	return len(r.requests) >= openAfter && now.Sub(r.since) >= after
}

// Outage is what readiness and metrics show.
type Outage struct {
	Open          bool
	Since         time.Time // when calls began to fail
	NextProbe     time.Time // if it is past, the next job probes
	Code, Message string    // of the last failure
}

// State is zero unless the breaker is open.
func (b *OutageBreaker) State() Outage {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.outage
}

// Admit says whether a call may be made for the request now. Whoever gets the probe
// makes the call, or says [OutageBreaker.NotCalled].
func (b *OutageBreaker) Admit(requestID string) domain.Admission {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.outage.Open {
		return domain.Admission{Allowed: true}
	}
	now := b.now()
	if wait := b.outage.NextProbe.Sub(now); wait > 0 {
		return domain.Admission{Wait: wait}
	}
	b.probe, b.outage.NextProbe = requestID, now.Add(b.patience)
	return domain.Admission{Allowed: true, Probe: true}
}

// Asked says whether a probe's call may be made after its look-up, which ended with
// err. What was found doesn't matter.
func (b *OutageBreaker) Asked(requestID string, err error) domain.Admission {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.outage.Open {
		return domain.Admission{Allowed: true}
	}
	now := b.now()
	if b.probe != requestID { // it took too long, and another job probes now
		return domain.Admission{Wait: max(b.outage.NextProbe.Sub(now), 0)}
	}
	var failed *answer.Failure
	silent := errors.As(err, &failed) && failed.Class == passcode.ClassTransient && !failed.Answered
	if silent && b.blind < blindEach {
		b.blind++
		return domain.Admission{Wait: b.pause(now, failed.Code, failed.Error())}
	}
	b.blind, b.outage.NextProbe = 0, now.Add(b.patience)
	return domain.Admission{Allowed: true, Probe: true}
}

// pause ends a probe that failed, and returns how long until the next.
func (b *OutageBreaker) pause(now time.Time, code, message string) time.Duration {
	b.level++
	wait := min(firstPause<<min(b.level, 10), lastPause)
	b.probe, b.outage.NextProbe = "", now.Add(wait)
	b.outage.Code, b.outage.Message = code, message
	return wait
}

// NotCalled says that no call was made for the request. If it had the probe, the next job probes at once.
func (b *OutageBreaker) NotCalled(requestID string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.release(requestID)
}

func (b *OutageBreaker) release(requestID string) {
	if b.outage.Open && b.probe == requestID {
		b.probe, b.outage.NextProbe = "", b.now()
	}
}

// Observe takes note of a call's outcome.
func (b *OutageBreaker) Observe(requestID string, began time.Time, out domain.Outcome) {
	if out.Class == passcode.ClassThrottled {
		b.throttled(began)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case out.NotMade:
		b.release(requestID)
	case out.Class == passcode.ClassTransient, out.Class == passcode.ClassInDoubt:
		b.failure(requestID, began, out)
	case out.ProviderRequestID != "":
		b.answer(requestID)
	default: // refused here, before a call was made
		b.release(requestID)
	}
}

func (b *OutageBreaker) failure(requestID string, began time.Time, out domain.Outcome) {
	now := b.now()
	if b.outage.Open {
		if b.probe == requestID {
			b.pause(now, out.Code, out.Message)
		}
		return // any other began before the breaker opened
	}
	if out.ProviderRequestID != "" {
		clear(b.silent.requests)
	} else {
		b.silent.add(requestID, began)
	}
	b.failed.add(requestID, began)
	var since time.Time
	switch {
	case b.silent.opens(now, silentTime):
		since = b.silent.since
	case b.failed.opens(now, failedTime):
		since = b.failed.since
	default:
		return
	}
	b.outage = Outage{Open: true, Since: since, NextProbe: now.Add(firstPause), Code: out.Code, Message: out.Message}
	b.level, b.blind, b.probe = 0, 0, ""
	b.hold()
	b.log.Error("Aliyun is down: jobs wait, and single calls find out when it is back",
		"since", since, "code", out.Code, "error", out.Message)
}

// answer ends the streaks of failures. An open breaker is closed by its probe alone:
// any other call was sent before it opened.
func (b *OutageBreaker) answer(requestID string) {
	if b.outage.Open {
		if b.probe != requestID {
			return
		}
		down := b.now().Sub(b.outage.Since).Round(time.Second)
		b.outage, b.probe = Outage{}, ""
		b.resume()
		b.log.Info("Aliyun answers again: sending goes on, slowly at first", "after", down)
	}
	clear(b.silent.requests)
	clear(b.failed.requests)
}

// ObserveLookup takes note of a look-up that was answered: Aliyun can be reached.
func (b *OutageBreaker) ObserveLookup() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.silent.requests)
	if b.outage.Open && b.probe == "" {
		b.outage.NextProbe = b.now()
	}
}
