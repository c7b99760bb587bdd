package account

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/internal/retry"
)

// pauseKey is where the note about an operator's pause lies in the bucket.
const pauseKey = "pause"

const (
	maxReasonBytes = 256
	maxByBytes     = 128
)

// Forever is the end of a pause that lasts until somebody ends it.
var Forever = time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC)

// Pause is an operator's pause of the consumer, which stops every replica. The
// pause itself is the server's affair; this is the note that says whose it is.
type Pause struct {
	// Until is the end of the pause as the server keeps it.
	Until  time.Time `json:"until"`
	Reason string    `json:"reason,omitempty"`
	By     string    `json:"by,omitempty"`
	At     time.Time `json:"at"`
	// KeptAt is when the note was written last: the bucket drops what is old.
	KeptAt time.Time `json:"kept_at"`
}

// Endless reports whether the pause lasts until somebody ends it.
func (p Pause) Endless() bool { return !p.Until.Before(Forever) }

// Hold pauses the consumer for d, or for d = 0 until [Breaker.Resume], and notes why.
// It changes the end of an earlier pause. Where the account's own pause lasts
// longer the consumer stays paused for as long.
//
// The note is written first: a replica that sees the pause can say whose it is.
// One without its pause says nothing, since its end fits no pause.
func (g *Breaker) Hold(ctx context.Context, d time.Duration, reason string) (Pause, error) {
	ctx, cancel := retry.Within(ctx, bucket.Patience)
	defer cancel()
	var note Pause
	err := bucket.Retry(ctx, func(ctx context.Context) error {
		_, now, err := g.queue.paused(ctx)
		if err != nil {
			return err
		}
		until := Forever
		if d > 0 {
			until = now.Add(d).Truncate(time.Millisecond).UTC()
		}
		if v := g.view.Load(); v.State == PhasePaused {
			if account := now.Add(v.until.Sub(g.now())).UTC(); account.After(until) {
				until = account
			}
		}
		note = Pause{
			Until: until, Reason: clip(oneLine(reason), maxReasonBytes), By: clip(oneLine(g.options.Worker), maxByBytes),
			At: g.now(), KeptAt: g.now(),
		}
		if err := g.writeNote(ctx, note); err != nil {
			return err
		}
		return g.queue.pauseUntil(ctx, until)
	})
	if err != nil {
		return Pause{}, failed(ctx, "pause", err)
	}
	return note, nil
}

// Resumed is what Resume found.
type Resumed struct {
	// Paused is whether the consumer was paused, until Pause.Until.
	Paused bool
	// Pause has a time At where an operator's note says whose the pause was.
	Pause Pause
	// Account is how the account stood.
	Account State
}

// Resume ends whatever pause there is. Where the account is closed the next job
// is the probe.
func (g *Breaker) Resume(ctx context.Context) (Resumed, error) {
	ctx, cancel := retry.Within(ctx, bucket.Patience)
	defer cancel()
	r := Resumed{Account: g.State()}
	err := bucket.Retry(ctx, func(ctx context.Context) error {
		left, now, err := g.queue.paused(ctx)
		if err != nil || left <= 0 {
			return err
		}
		r.Paused, r.Pause = true, Pause{Until: now.Add(left).UTC()}
		note, _, err := g.readNote(ctx)
		if err == nil && note.ends(r.Pause.Until) {
			r.Pause = note
		}
		return err
	})
	if err != nil {
		return r, failed(ctx, "resume", err)
	}
	if err := g.ProbeNow(ctx); err != nil {
		return r, err
	}
	if !r.Paused {
		return r, nil
	}
	err = bucket.Retry(ctx, g.queue.resume)
	if err == nil {
		err = bucket.Retry(ctx, func(ctx context.Context) error { return g.writeNote(ctx, Pause{}) })
	}
	if err != nil {
		return r, failed(ctx, "resume", err)
	}
	return r, nil
}

// Holder returns the operator's note about a pause of the consumer with this
// end, and false where it is not an operator's, or not by [Breaker.Hold]. It keeps
// the note from being dropped by age, so that a pause is explained for as long as
// replicas ask.
func (g *Breaker) Holder(ctx context.Context, until time.Time) (Pause, bool, error) {
	note, revision, err := g.readNote(ctx)
	if err != nil {
		return Pause{}, false, fmt.Errorf("gate: whose pause it is: %w", err)
	}
	if !note.ends(until) {
		return Pause{}, false, nil
	}
	if g.ttl > 0 && g.now().Sub(note.KeptAt) > g.ttl/2 {
		kept := note
		kept.KeptAt = g.now()
		if data, err := json.Marshal(kept); err == nil {
			// Where this fails somebody else does it, or the next asking.
			_, _ = g.store.Swap(ctx, pauseKey, data, revision)
		}
	}
	return note, true, nil
}

// ends reports whether the note is about a pause with this end.
func (p Pause) ends(until time.Time) bool {
	return !p.At.IsZero() && p.Until.Sub(until).Abs() < slack
}

// readNote returns no note where there is none, or one that can't be read.
func (g *Breaker) readNote(ctx context.Context) (note Pause, revision uint64, err error) {
	data, revision, err := g.store.Get(ctx, pauseKey)
	if err != nil || len(data) > maxDocumentBytes || json.Unmarshal(data, &note) != nil {
		return Pause{}, revision, err
	}
	// Whoever wrote it, it is shown on terminals.
	note.Reason, note.By = clip(oneLine(note.Reason), maxReasonBytes), clip(oneLine(note.By), maxByBytes)
	return note, revision, nil
}

func (g *Breaker) writeNote(ctx context.Context, note Pause) error {
	data, err := json.Marshal(note)
	if err != nil {
		return err
	}
	_, revision, err := g.store.Get(ctx, pauseKey)
	if err != nil {
		return err
	}
	_, err = g.store.Swap(ctx, pauseKey, data, revision)
	return err
}

// oneLine makes one line of a text, without what a terminal would act upon.
func oneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text)
	return strings.Join(strings.Fields(text), " ")
}
