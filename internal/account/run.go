package account

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/internal/retry"
)

const (
	// lookEvery is how often the state is read beside the watch, which may be silent without an error.
	lookEvery = 10 * time.Second
	// lookAfter leaves the replica that tripped the breaker time to pause the consumer
	// itself; lookAgain is the wait after that failed.
	lookAfter = time.Second
	lookAgain = 5 * time.Second
	// slack is by how much two measures of the same pause may differ.
	slack = time.Second

	watchFails = "the watch of the account's state failed and starts again"
)

// Consumer is the consumer on the server that is paused.
type Consumer interface {
	// Paused returns how much of a pause is left, 0 for none, and the server's time.
	Paused(ctx context.Context) (left time.Duration, now time.Time, err error)
	// Pause pauses it until then; the zero time resumes it.
	Pause(ctx context.Context, until time.Time) error
}

// natsConsumer is one of a NATS server; 2.11 is the first that can pause it.
type natsConsumer struct {
	js           jetstream.JetStream
	stream, name string
}

func (c natsConsumer) Paused(ctx context.Context) (left time.Duration, now time.Time, err error) {
	consumer, err := c.js.Consumer(ctx, c.stream, c.name)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("look at the consumer: %w", err)
	}
	info := consumer.CachedInfo() // read just now, by Consumer
	if info.Paused {
		left = info.PauseRemaining
	}
	return left, info.TimeStamp, nil
}

func (c natsConsumer) Pause(ctx context.Context, until time.Time) error {
	if until.IsZero() {
		_, err := c.js.ResumeConsumer(ctx, c.stream, c.name)
		return err
	}
	_, err := c.js.PauseConsumer(ctx, c.stream, c.name, until)
	return err
}

// Run follows the state in the broker until ctx ends, and keeps the consumer paused
// while the account is. It returns once all it started has ended.
func (b *Breaker) Run(ctx context.Context) {
	var watching sync.WaitGroup
	defer watching.Wait()
	watching.Go(func() {
		warned := retry.Observe(ctx, func(err error) { b.warn(watchFails, err) })
		// It ends with ctx alone.
		_ = retry.Follow.Do(warned, func(ctx context.Context) error {
			return b.bucket.Watch(ctx, stateKey, b.told)
		})
	})
	look := time.NewTimer(0) // at once: a worker may have died between the record and the pause
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.look:
			look.Reset(lookAfter)
		case <-look.C:
			look.Reset(b.tend(ctx))
		}
	}
}

// tend reads the state, as the watch may lag behind, and pauses the consumer if the
// account is paused and the consumer is not. It returns when to do so again.
func (b *Breaker) tend(ctx context.Context) time.Duration {
	err := b.reload(ctx)
	if ctx.Err() == nil {
		b.warn("the account's state can't be read", err)
	}
	if err == nil {
		err = b.pause(ctx, b.view.Load())
		if ctx.Err() == nil {
			b.warn("the consumer can't be paused; jobs are requeued instead", err)
		}
	}
	if err != nil {
		return lookAgain
	}
	return lookEvery
}

// warn says that something fails once, until it has worked again: err is nil then.
func (b *Breaker) warn(what string, err error) {
	if b.said.Changed(what, strconv.FormatBool(err != nil)) && err != nil {
		b.log.Warn(what, "error", err)
	}
}

// told takes over a state that the broker announced.
func (b *Breaker) told(found bucket.Entry) {
	b.warn(watchFails, nil)
	v := b.parse(found)
	if b.observe(v) && v.Phase != PhaseProbing {
		b.log.Info("the account's state changed", "state", v.Phase, "code", v.Code, "level", v.Level,
			"until", v.Until, "worker", v.Worker)
	}
	if v.Phase == PhasePaused {
		select {
		case b.look <- struct{}{}: // also after this replica's own trip, whose pause may have failed
		default: // it is asked already
		}
	}
}

// pause pauses the consumer for what is left of the account's pause, by the server's
// clock. An operator's pause that lasts longer stays as it is.
//
// Somebody may have ended the account's pause, and resumed the consumer, just before
// it was paused here. So the state is read again afterwards: either that shows
// it, and the consumer is resumed, or the other's resume is yet to come.
func (b *Breaker) pause(ctx context.Context, v *view) error {
	paused := false
	err := retry.Do(ctx, func(ctx context.Context) error {
		if !v.pauses(b.now()) {
			return nil
		}
		already, now, err := b.consumer.Paused(ctx)
		left := v.left(b.now())
		if err != nil || already > 0 && already >= left-slack {
			return err
		}
		paused = true // even if the answer is lost
		return b.consumer.Pause(ctx, now.Add(left))
	})
	if err == nil && paused {
		err = b.reload(ctx)
	}
	if err != nil {
		return fmt.Errorf("account: pause: %w", err)
	}
	if paused && !b.view.Load().pauses(b.now()) {
		return b.resume(ctx, v.Until)
	}
	return nil
}

// resume ends the consumer's pause early, unless it lasts longer than the account's:
// then it is an operator's. A pause that can't be ended here ends by itself.
func (b *Breaker) resume(ctx context.Context, until time.Time) error {
	err := retry.Do(ctx, func(ctx context.Context) error {
		left, _, err := b.consumer.Paused(ctx)
		if err != nil || left <= 0 || left > max(until.Sub(b.now()), 0)+slack {
			return err
		}
		return b.consumer.Pause(ctx, time.Time{})
	})
	if err != nil {
		return fmt.Errorf("account: the consumer stays paused for now: %w", err)
	}
	return nil
}
