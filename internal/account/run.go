package account

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/internal/retry"
)

const (
	// reloadEvery is how often the state is read beside the watch, in case the
	// watch is silent for another reason than that nothing happens.
	reloadEvery = 10 * time.Second
	// lookAfter leaves the replica that tripped the gate time to pause the consumer
	// itself; lookAgain is the wait after that failed.
	lookAfter = time.Second
	lookAgain = 5 * time.Second
	// slack is the difference between two ways to measure a pause that means nothing.
	slack = time.Second

	firstWatchRetry = 100 * time.Millisecond
	lastWatchRetry  = 5 * time.Second
)

// Run follows the state in the broker until ctx ends, and sees to it that the
// consumer is paused while the gate is. It returns nil, once all it started has
// ended.
func (g *Breaker) Run(ctx context.Context) error {
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() { g.follow(ctx) })
	g.tend(ctx)
	return nil
}

// follow keeps a watch on the document, and starts it again when it fails.
func (g *Breaker) follow(ctx context.Context) {
	waits := retry.Pauses(firstWatchRetry, lastWatchRetry)
	for {
		err := g.store.Watch(ctx, key, func(data []byte, revision uint64) {
			waits.Reset()
			g.learn(g.parse(data, revision))
		})
		if ctx.Err() != nil {
			return
		}
		g.log.Warn("the account gate's watch failed and starts again", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(waits.NextBackOff()):
		}
	}
}

// learn takes over a state that the broker announced.
func (g *Breaker) learn(v *view) {
	if g.see(v) && v.State != PhaseProbing {
		g.log.Info("the account gate changed", "state", v.State, "code", v.Code, "level", v.Level,
			"until", v.Until, "worker", v.Worker)
	}
	if v.State == PhasePaused {
		g.askToLook() // also after this replica's own trip, whose pause may have failed
	}
}

func (g *Breaker) askToLook() {
	select {
	case g.look <- struct{}{}:
	default: // it is asked already
	}
}

// tend reads the state now and then, and looks after the consumer when asked to.
func (g *Breaker) tend(ctx context.Context) {
	reload := time.NewTicker(reloadEvery)
	defer reload.Stop()
	look := time.NewTimer(0) // at once: a worker may have died between the record and the pause
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-reload.C:
			if err := g.reload(ctx); err != nil && ctx.Err() == nil {
				g.log.Warn("the account gate's state can't be read", "error", err)
			}
		case <-g.look:
			look.Reset(lookAfter)
		case <-look.C:
			if err := g.mend(ctx); err != nil && ctx.Err() == nil {
				g.log.Warn("the consumer can't be paused; jobs are handed back instead", "error", err)
				look.Reset(lookAgain)
			}
		}
	}
}

// mend pauses the consumer if the gate is paused and the consumer is not. It asks
// first: a watch that lags could make it bring back a pause that was ended.
func (g *Breaker) mend(ctx context.Context) error {
	if g.view.Load().State != PhasePaused {
		return nil
	}
	if err := g.reload(ctx); err != nil {
		return err
	}
	v := g.view.Load()
	if v.State != PhasePaused || !v.until.After(g.now()) {
		return nil
	}
	return g.pauseQueue(ctx, v)
}

// pauseQueue pauses the consumer for what is left of the gate's pause. A pause
// that lasts longer already, because an operator set it, stays as it is. The end
// is computed on the server's clock, which is the one that will end the pause.
//
// Somebody may have ended the gate's pause, and resumed the consumer, just before
// it was paused here. So the document is read again afterwards: either that shows
// it, and the consumer is resumed, or the other's resume is yet to come.
func (g *Breaker) pauseQueue(ctx context.Context, v *view) error {
	ctx, cancel := retry.Within(ctx, bucket.Patience)
	defer cancel()
	paused := false
	err := bucket.Retry(ctx, func(ctx context.Context) error {
		already, now, err := g.queue.paused(ctx)
		if err != nil {
			return err
		}
		left := v.until.Sub(g.now())
		if left <= 0 || already >= left-slack && already > 0 {
			return nil
		}
		paused = true // even if the answer is lost
		return g.queue.pauseUntil(ctx, now.Add(left))
	})
	if err == nil && paused {
		err = bucket.Retry(ctx, g.reload)
	}
	if err != nil {
		return failed(ctx, "pause", err)
	}
	latest := g.view.Load()
	if paused && (latest.State != PhasePaused || !latest.until.After(g.now())) {
		return g.resumeQueue(ctx, v)
	}
	return nil
}

// resumeQueue ends the consumer's pause early, unless it lasts longer than the
// gate's own did: then it is an operator's. It does what it can: a pause that
// can't be resumed ends by itself.
func (g *Breaker) resumeQueue(ctx context.Context, before *view) error {
	ctx, cancel := retry.Within(ctx, bucket.Patience)
	defer cancel()
	ours := max(before.Until.Sub(g.now()), 0) + slack
	err := bucket.Retry(ctx, func(ctx context.Context) error {
		left, _, err := g.queue.paused(ctx)
		if err != nil || left <= 0 || left > ours {
			return err
		}
		return g.queue.resume(ctx)
	})
	if err != nil {
		return fmt.Errorf("the consumer stays paused for now: %w", failed(ctx, "resume", err))
	}
	return nil
}
