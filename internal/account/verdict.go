package account

import (
	"context"
	"fmt"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/internal/retry"
)

// Trip says that Aliyun refused a call for the whole account. It closes an open
// gate, and after a failed probe it begins the next, longer pause. Where the gate
// is closed already it changes nothing: that call began before.
//
// It returns when to try the job again, which is never before now. The time holds
// also beside an error; the error then says that the pause could not be recorded,
// or that it is recorded but the consumer not yet paused, which [Breaker.Run] mends.
func (g *Breaker) Trip(ctx context.Context, code, message string) (time.Time, error) {
	known := g.view.Load()
	probing := g.holds(known)
	if known.State != PhaseOpen && !probing {
		return g.again(known), nil // one of many at once; the first has done it
	}
	v, wrote, err := g.change(ctx, "trip", func(v *view) (document, bool) {
		// A probe that took so long that another one has opened the gate is old news.
		trip := g.holds(v) || v.State == PhaseOpen && !probing
		return v.tripped(g.now(), g.pause, code, message), trip
	})
	if err != nil {
		return g.now().Add(shortWait), err
	}
	if !wrote {
		return g.again(v), nil
	}
	g.log.Error("Aliyun refuses the account: all replicas pause",
		"code", v.Code, "message", v.Message, "level", v.Level, "until", v.Until)
	if err := g.pauseQueue(ctx, v); err != nil {
		return g.again(v), fmt.Errorf("the pause is recorded, but the consumer not yet paused: %w", err)
	}
	return g.again(g.view.Load()), nil // an operator may have ended it already
}

// again is when a job that the gate holds back should return.
func (g *Breaker) again(v *view) time.Time {
	now := g.now()
	switch left := v.until.Sub(now); {
	case v.State == PhaseOpen || left <= 0:
		return now
	case v.State == PhaseProbing:
		return now.Add(min(left, shortWait))
	default:
		return v.until
	}
}

// Passed says that Aliyun answered a call for itself, with whatever verdict on
// that one message: the account works. Where this replica holds the probe, the
// gate opens and the consumer resumes. In every other case it does nothing, at
// the cost of an atomic load or two.
func (g *Breaker) Passed(ctx context.Context) error {
	before := g.view.Load()
	if !g.holds(before) {
		return nil
	}
	v, wrote, err := g.change(ctx, "open", func(v *view) (document, bool) {
		return opened(g.now()), g.holds(v)
	})
	if err != nil || !wrote {
		return err
	}
	g.log.Info("the account works again", "closed_for", v.Since.Sub(before.Since).Round(time.Second))
	return g.resumeQueue(ctx, before)
}

// GiveBack says that the probe ended without a word on the account: the job was a
// duplicate or was denied by a limit of ours, the call failed on its way or was
// left in doubt. The next job may probe at once. Without the probe it does nothing.
func (g *Breaker) GiveBack(ctx context.Context) error {
	if !g.holds(g.view.Load()) {
		return nil
	}
	_, _, err := g.change(ctx, "give the probe back", func(v *view) (document, bool) {
		return v.due(g.now()), g.holds(v)
	})
	return err
}

// ProbeNow ends the pause under way, for an operator who has put the account in
// order: the next job is the probe. The consumer resumes unless somebody else has
// paused it for longer. Where there is no pause it does nothing.
func (g *Breaker) ProbeNow(ctx context.Context) error {
	var before *view
	_, wrote, err := g.change(ctx, "probe now", func(v *view) (document, bool) {
		before = v
		return v.due(g.now()), v.State == PhasePaused && v.until.After(g.now())
	})
	if err != nil || !wrote {
		return err
	}
	return g.resumeQueue(ctx, before)
}

// holds reports whether this gate holds the probe. It loses it when its time is
// over and another one takes it.
func (g *Breaker) holds(v *view) bool {
	probe := g.probe.Load()
	return v.State == PhaseProbing && probe != nil && *probe == v.ID
}

// change runs one update, alone in this process and within patience.
func (g *Breaker) change(ctx context.Context, call string, next func(*view) (document, bool)) (*view, bool, error) {
	ctx, cancel := retry.Within(ctx, bucket.Patience)
	defer cancel()
	select {
	case g.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, false, failed(ctx, call, context.Cause(ctx))
	}
	defer func() { <-g.turn }()
	v, wrote, err := g.update(ctx, next)
	if err != nil {
		return nil, false, failed(ctx, call, err)
	}
	return v, wrote, nil
}
