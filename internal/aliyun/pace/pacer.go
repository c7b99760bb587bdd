// Package pace decides when calls to Aliyun may be made: a pacer spaces them out, and an
// outage breaker stops them while Aliyun answers none.
package pace

import (
	"context"
	"math"
	"sync"
	"time"
)

const (
	// Min is the lowest pace after throttling, in calls a second: enough to notice that the service has recovered.
	Min = 3.0
	// A pace that was cut recovers each second by paceStep calls and by 5 %: half a large
	// pace is whole again after 14 seconds, the floor grows to hundreds in half a minute.
	paceStep   = 2.0
	paceGrowth = 1.05
	// paceUnbounded is a pace that no account reaches (SendSms allows 5,000 a second).
	// From there on there is no bound.
	paceUnbounded = 10_000.0
	// cutInterval is the least time between two cuts.
	cutInterval = time.Second
	// burstSeconds is how much of a second's calls may go at once, because timers are coarse.
	burstSeconds = 0.02
)

// pacer spaces calls out. Its pace is the cap of the settings, or none. A throttled call
// halves the pace last observed; it then recovers up to the cap. Calls that began before
// a cut, or within cutInterval of it, change nothing, so a burst of refusals counts once.
type pacer struct {
	now func() time.Time
	cap float64 // +Inf: none
	// first is held by the one caller that waits for a token. The others wait for it, so
	// that no pace of the past binds them.
	first chan struct{}
	// released wakes that caller when a permit comes back unused, for example that of an expired job.
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

// Pace waits until a call may be made at the current rate. The caller makes the call, or
// releases its permit, once. The error is ctx's.
func (p *pacer) Pace(ctx context.Context) (release func(), err error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	select {
	case p.first <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-p.first }()
	for {
		delay := p.take()
		if delay == 0 {
			return p.release, nil
		}
		select {
		case <-time.After(delay):
		case <-p.released:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// take takes a token, or returns how long until there is one. It reserves nothing, so
// that a cut reaches callers that wait.
func (p *pacer) take() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if pace := p.settle(now); !math.IsInf(pace, 1) {
		if p.tokens < 1 {
			return max(time.Duration((1-p.tokens)/pace*float64(time.Second)), time.Microsecond)
		}
		p.tokens--
	}
	p.window.add(now, 1)
	return 0
}

// release takes an unused permit back.
func (p *pacer) release() {
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

// hold keeps the pace at its floor until resume.
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

// Rate is how many calls a second may be made; +Inf: no bound; 0: the breaker is open.
func (p *pacer) Rate() float64 {
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

// meter estimates the calls of the last second: those of this window of a second, and a share of the one before.
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
