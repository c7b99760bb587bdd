package account

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/internal/text"
)

const (
	noteKey        = "pause"
	maxReasonBytes = 256
)

// Forever is the end of a pause that lasts until somebody ends it.
var Forever = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

// Pause is the note about an operator's pause of the consumer, which stops every replica. The server keeps the
// pause itself. The note only says whose it is, so one that outlives its pause does no harm.
type Pause struct {
	Until  time.Time `json:"until"` // by the server's clock
	Reason string    `json:"reason,omitempty"`
	By     string    `json:"by,omitempty"`
	At     time.Time `json:"at"`
	// KeptAt is when the note was written last: the bucket drops what is old.
	KeptAt time.Time `json:"kept_at"`
}

// Hold pauses the consumer for d, or for d = 0 until [Breaker.Resume], and notes why. It changes the end of an
// earlier pause, but doesn't shorten the account's own. The note is written first, so that a replica that sees the
// pause can say whose it is.
func (b *Breaker) Hold(ctx context.Context, d time.Duration, reason string) (note Pause, err error) {
	err = retry.Do(ctx, func(ctx context.Context) error {
		_, now, err := b.consumer.Paused(ctx)
		if err != nil {
			return err
		}
		until := Forever
		if d > 0 {
			until = now.Add(d).Truncate(time.Millisecond).UTC()
		}
		v := b.view.Load()
		if account := now.Add(v.left(b.now())).UTC(); v.Phase == PhasePaused && account.After(until) {
			until = account
		}
		note = Pause{
			Until: until, Reason: text.Line(reason, maxReasonBytes), By: text.Line(b.worker, maxWorkerBytes),
			At: b.now(), KeptAt: b.now(),
		}
		if err := b.writeNote(ctx, note); err != nil {
			return err
		}
		return b.consumer.Pause(ctx, until)
	})
	if err != nil {
		return Pause{}, fmt.Errorf("account: pause: %w", err)
	}
	return note, nil
}

// Resumed is what Resume found.
type Resumed struct {
	Paused  bool  // the consumer was, until Pause.Until
	Pause   Pause // see [Breaker.Holder]
	Account State
}

// Resume ends whatever pause there is. Where the account is paused the next job is the probe.
func (b *Breaker) Resume(ctx context.Context) (Resumed, error) {
	var r Resumed
	if err := b.reload(ctx); err != nil {
		return r, fmt.Errorf("account: resume: %w", err)
	}
	r.Account = b.State()
	if _, err := b.change(ctx, event{kind: resume}); err != nil {
		return r, err
	}
	err := retry.Do(ctx, func(ctx context.Context) error {
		left, now, err := b.consumer.Paused(ctx)
		if err != nil {
			return err
		}
		if left > 0 {
			if r.Pause, err = b.Holder(ctx, now.Add(left).UTC()); err != nil {
				return err
			}
			r.Paused = true
		}
		if !r.Paused { // neither now nor in an earlier try
			return nil
		}
		if err := b.consumer.Pause(ctx, time.Time{}); err != nil {
			return err
		}
		return b.writeNote(ctx, Pause{})
	})
	if err != nil {
		return r, fmt.Errorf("account: resume: %w", err)
	}
	return r, nil
}

// Holder returns the operator's note about a pause of the consumer with this end, or one without a time At. It
// rewrites an old note, so that the bucket doesn't drop it while replicas ask.
func (b *Breaker) Holder(ctx context.Context, until time.Time) (note Pause, err error) {
	_, err = b.bucket.Change(ctx, noteKey, nil, func(found bucket.Entry) ([]byte, error) {
		note = parseNote(found.Value)
		if note.At.IsZero() || note.Until.Sub(until).Abs() >= slack {
			note = Pause{Until: until}
			return nil, nil
		}
		if ttl := b.bucket.TTL(); ttl == 0 || b.now().Sub(note.KeptAt) <= ttl/2 {
			return nil, nil
		}
		kept := note
		kept.KeptAt = b.now()
		return json.Marshal(kept)
	})
	if err != nil {
		return Pause{}, fmt.Errorf("account: whose pause it is: %w", err)
	}
	return note, nil
}

// parseNote returns no note where there is none, or one that can't be read.
func parseNote(data []byte) (note Pause) {
	if len(data) > maxStateBytes || json.Unmarshal(data, &note) != nil {
		return Pause{}
	}
	// Whoever wrote it, it is shown on terminals.
	note.Reason, note.By = text.Line(note.Reason, maxReasonBytes), text.Line(note.By, maxWorkerBytes)
	return note
}

func (b *Breaker) writeNote(ctx context.Context, note Pause) error {
	_, err := b.bucket.Change(ctx, noteKey, nil, func(bucket.Entry) ([]byte, error) { return json.Marshal(note) })
	return err
}
