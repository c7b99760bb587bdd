// Package pace decides when a call to Aliyun may be made: a pacer spaces calls out,
// and an outage breaker stops them while Aliyun answers none.
package pace

import (
	"context"
	"math"
	"sync"
	"time"
)

// How the pace follows what the service says.
const (
	// Min is the lowest pace that throttling leads to, in calls a second: enough to
	// notice that the service has recovered.
	Min = 3.0
	// A pace that was cut recovers each second by paceStep calls a second and by
	// 5 %: half of a large pace is whole again after 14 seconds, and the floor
	// grows to hundreds in half a minute.
	paceStep   = 2.0
	paceGrowth = 1.05
	// paceUnbounded is a pace that no account reaches (SendSms allows 5,000 a
	// second): recovered that far, there is no bound any more.
	paceUnbounded = 10_000.0
	// cutInterval is the least time between two cuts.
	cutInterval = time.Second
	// burstSeconds is how much of a second's calls may go at once: what timers
	// are too coarse to space out.
	burstSeconds = 0.02
)

// pacer spaces calls out. Its pace is the cap of the settings, or none. An answer
// that asks for fewer calls halves the pace last observed, at once; it then recovers
// by paceStep and paceGrowth a second, up to the cap. Answers to calls that began
// before a cut, and those within cutInterval of it, say nothing new and change
// nothing, so that a burst of refusals counts once.
type pacer struct {
	now func() time.Time
	cap float64 // +Inf: none
	// first is held by the one caller that waits for a token; the others wait for its
	// place, and so are not bound to a pace that has changed meanwhile.
	first chan struct{}
	// released wakes that caller when a permit comes back unused, so that permits which
	// nobody uses, such as those of expired jobs, make no other caller wait.
	released chan struct{}

	mu     sync.Mutex
	tokens float64   // calls that may be made at once; of no meaning without a bound
	at     time.Time // when tokens were counted
	cut    float64   // the pace right after the last cut; +Inf: none, or recovered
	cutAt  time.Time // of the last cut
	held   bool      // the pace stays at its floor; see hold
	window meter
}

func newPacer(maxQPS float64, now func() time.Time) *pacer {
	p := &pacer{now: now, cap: math.Inf(1), cut: math.Inf(1), first: make(chan struct{}, 1), released: make(chan struct{}, 1)}
	if maxQPS > 0 {
		p.cap = maxQPS
	}
	p.tokens, p.at = burstOf(p.cap), now()
	return p
}

// burstOf is how many calls may be made at once; one where there is no bound yet.
func burstOf(pace float64) float64 {
	if math.IsInf(pace, 1) {
		return 1
	}
	return max(1, math.Floor(pace*burstSeconds))
}

// wait returns when a call may begin. The caller makes the call, or releases its
// permit. The error is ctx's.
func (p *pacer) wait(ctx context.Context) (release func(), err error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if p.take(false) == 0 {
		return p.release(), nil
	}
	select {
	case p.first <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-p.first }()
	for {
		delay := p.take(true)
		if delay == 0 {
			return p.release(), nil
		}
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-p.released:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		}
	}
}

// take takes a token, or returns how long until there will be one. It reserves
// nothing ahead, so that a cut reaches also the one who waits. Whoever isn't first
// goes past those who wait, where the pace has no bound any more, and gets no token.
func (p *pacer) take(first bool) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if pace := p.settle(now); !math.IsInf(pace, 1) {
		if !first || p.tokens < 1 {
			return max(time.Duration((1-p.tokens)/pace*float64(time.Second)), time.Microsecond)
		}
		p.tokens--
	}
	p.window.add(now, 1)
	return 0
}

// release returns the function that takes an unused permit back, once. No more are
// kept than may go in one burst: a pace is not saved up.
func (p *pacer) release() func() {
	return sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		now := p.now()
		pace := p.settle(now)
		p.window.add(now, -1)
		p.tokens = min(p.tokens+1, burstOf(pace))
		select {
		case p.released <- struct{}{}:
		default: // it is told already
		}
	})
}

// throttled notes that a call begun at the time given was refused for the pace.
func (p *pacer) throttled(began time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	pace := p.settle(now)
	if p.held || !p.cutAt.IsZero() && (!began.After(p.cutAt) || now.Sub(p.cutAt) < cutInterval) {
		return
	}
	// A pace that was allowed but not used is no measure of what was too much.
	p.cutTo(max(min(pace, p.window.rate(now))/2, Min), now)
}

// hold keeps the pace at its floor, whatever time goes by, until resume: a pace
// at which jobs are looked at, none of which is sent.
func (p *pacer) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	p.settle(now)
	p.held = true
	p.cutTo(Min, now)
}

func (p *pacer) cutTo(pace float64, now time.Time) {
	p.cut, p.cutAt = min(pace, p.cap), now
	p.tokens = min(p.tokens, burstOf(p.cut))
}

// resume has the pace recover from its floor, as after a cut.
func (p *pacer) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held, p.cutAt = false, p.now()
}

func (p *pacer) rate() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held {
		return 0
	}
	return p.settle(p.now())
}

// settle counts the tokens of this moment and returns its pace. The lock is held.
func (p *pacer) settle(now time.Time) float64 {
	pace := p.paceAt(now)
	if gone := now.Sub(p.at).Seconds(); gone > 0 && !math.IsInf(pace, 1) {
		p.tokens = min(p.tokens+gone*pace, burstOf(pace))
	}
	p.at = now
	return pace
}

func (p *pacer) paceAt(now time.Time) float64 {
	switch {
	case math.IsInf(p.cut, 1):
		return p.cap
	case p.held:
		return p.cut
	}
	seconds := max(math.Floor(now.Sub(p.cutAt).Seconds()), 0)
	pace := (p.cut + paceStep*seconds) * math.Pow(paceGrowth, seconds)
	if pace >= min(p.cap, paceUnbounded) {
		p.cut = math.Inf(1)
		return p.cap
	}
	return pace
}

// meter counts the calls of the last second: those of this second's window, and
// of the one before the share that is less than a second ago.
type meter struct {
	start         time.Time
	before, count float64
}

func (m *meter) add(now time.Time, n float64) {
	m.roll(now)
	m.count = max(m.count+n, 0)
}

func (m *meter) rate(now time.Time) float64 {
	m.roll(now)
	return m.count + m.before*(1-now.Sub(m.start).Seconds())
}

func (m *meter) roll(now time.Time) {
	switch passed := now.Sub(m.start); {
	case passed < 0 || passed >= 2*time.Second:
		m.start, m.before, m.count = now, 0, 0
	case passed >= time.Second:
		m.start, m.before, m.count = m.start.Add(time.Second), m.count, 0
	}
}
