package aliyun

import (
	"context"
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How the pace follows what the service says.
const (
	// MinPace is the lowest pace that throttling leads to, in calls a second:
	// enough to notice that the service has recovered.
	MinPace = 3.0
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

// pacer spaces calls out. Its pace is the cap of the settings, or none. An
// answer that asks for fewer calls halves the pace last observed, at once; it
// then recovers by paceStep and paceGrowth a second, up to the cap. Answers to calls that
// began before a cut, and those within cutInterval of it, say nothing new and
// change nothing, so that a burst of refusals counts once.
type pacer struct {
	now func() time.Time
	cap float64 // +Inf: none
	// turn is held by the one caller that waits for a token; the others wait for
	// the turn, and so are not bound to a pace that has changed meanwhile.
	turn chan struct{}
	// returned tells that caller of a turn given back, so that turns which nobody
	// uses, such as those of expired jobs, make no other wait.
	returned chan struct{}

	mu      sync.Mutex
	limiter *rate.Limiter
	cut     float64   // the pace right after the last cut; +Inf: none, or recovered
	cutAt   time.Time // of the last cut
	held    bool      // the pace stays at its floor; see hold
	credits int       // turns given back
	window  meter
}

func newPacer(maxQPS float64, now func() time.Time) *pacer {
	p := &pacer{now: now, cap: math.Inf(1), turn: make(chan struct{}, 1), returned: make(chan struct{}, 1), cut: math.Inf(1)}
	if maxQPS > 0 {
		p.cap = maxQPS
	}
	p.limiter = rate.NewLimiter(limitOf(p.cap), burstOf(p.cap))
	return p
}

func limitOf(pace float64) rate.Limit {
	if math.IsInf(pace, 1) {
		return rate.Inf
	}
	return rate.Limit(pace)
}

func burstOf(pace float64) int {
	if math.IsInf(pace, 1) {
		return 1 // not looked at
	}
	return max(1, int(pace*burstSeconds))
}

// wait returns when a call may begin.
func (p *pacer) wait(ctx context.Context) (func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if p.free() {
		return p.giveBack(), nil
	}
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-p.turn }()
	for {
		delay := p.take()
		if delay == 0 {
			return p.giveBack(), nil
		}
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-p.returned:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return nil, context.Cause(ctx)
		}
	}
}

// free takes a call where the pace is not bounded, past those who still wait
// from the time when it was.
func (p *pacer) free() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if !math.IsInf(p.settle(now), 1) {
		return false
	}
	p.window.add(now, 1)
	return true
}

// take takes a token, or returns how long until there will be one. It reserves
// nothing ahead, so that a cut reaches also the one who waits.
func (p *pacer) take() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	pace := p.settle(now)
	switch {
	case math.IsInf(pace, 1):
	case p.credits > 0:
		p.credits--
	case !p.limiter.AllowN(now, 1):
		missing := 1 - p.limiter.TokensAt(now)
		return max(time.Duration(missing/pace*float64(time.Second)), time.Microsecond)
	}
	p.window.add(now, 1)
	return 0
}

// giveBack returns the function that returns an unused turn, once. No more are
// kept than may go in one burst: a pace is not saved up.
func (p *pacer) giveBack() func() {
	var once sync.Once
	return func() {
		once.Do(func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			now := p.now()
			p.window.add(now, -1)
			if pace := p.settle(now); p.credits < burstOf(pace) && !math.IsInf(pace, 1) {
				p.credits++
				select {
				case p.returned <- struct{}{}:
				default: // it is told already
				}
			}
		})
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
	p.cut = min(max(min(pace, p.window.rate(now))/2, MinPace), p.cap)
	p.cutAt, p.credits = now, 0
	p.set(now, p.cut)
}

// hold keeps the pace at its floor, whatever time goes by, until resume: a pace
// at which jobs are looked at, none of which is sent.
func (p *pacer) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	p.held, p.cut, p.cutAt, p.credits = true, min(MinPace, p.cap), now, 0
	p.set(now, p.cut)
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

// settle brings the limiter to the pace of this moment and returns it. The lock
// is held.
func (p *pacer) settle(now time.Time) float64 {
	switch {
	case math.IsInf(p.cut, 1):
		return p.cap
	case p.held:
		return p.cut
	}
	seconds := max(math.Floor(now.Sub(p.cutAt).Seconds()), 0)
	pace := (p.cut + paceStep*seconds) * math.Pow(paceGrowth, seconds)
	if pace >= min(p.cap, paceUnbounded) {
		pace, p.cut = p.cap, math.Inf(1)
	}
	if limitOf(pace) != p.limiter.Limit() {
		p.set(now, pace)
	}
	return pace
}

func (p *pacer) set(now time.Time, pace float64) {
	p.limiter.SetLimitAt(now, limitOf(pace))
	p.limiter.SetBurstAt(now, burstOf(pace))
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
