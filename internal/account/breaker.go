// Package account stops every replica while Aliyun refuses the whole account: no balance, arrears, a wrong key, a
// cap on the account. Each further call would fail too, and some failures count against the account.
//
// The replica that sees such an answer trips the breaker. The consumer is paused on the server, so no replica is
// given a job. After the pause the next job is sent as the probe, one over all replicas. If it gets through, the
// breaker opens; if not, the next pause begins, twice as long. State.after is the whole rule.
//
// The state is one JSON document in a key-value bucket, changed by compare-and-swap alone. Each breaker follows it
// with a watch and reads it again every ten seconds. Without the broker the last known state counts.
//
// The document is written first, the consumer paused second. If a worker dies in between, every replica that sees
// the pause checks that the consumer is paused. If it dies with the probe, another replica probes in time. If it
// dies before it resumes the consumer, the pause ends by itself.
package account

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/internal/telemetry/once"
)

const (
	stateKey = "account"

	firstPause   = 30 * time.Second
	longestPause = 15 * time.Minute
	// probeTimeout is how long a prober may take before another one probes. It is longer than a call to Aliyun.
	probeTimeout = 15 * time.Second
	// shortWait is how long a job waits while the probe is made.
	shortWait = time.Second

	cantProbe = "the account can't be probed for now"
)

// Options say what a breaker pauses.
type Options struct {
	Bucket           string           // an existing key-value bucket that keeps values longer than the longest pause
	Stream, Consumer string           // the consumer that is paused
	Worker           string           // this replica's name, for people
	Now              func() time.Time // default: [time.Now]
	Logger           *slog.Logger     // default: none
}

// Breaker is one replica's view of the account. Its methods may be called by any number of goroutines.
type Breaker struct {
	bucket   *bucket.Bucket
	consumer Consumer
	worker   string
	now      func() time.Time
	log      *slog.Logger
	first    time.Duration // the first pause

	view     atomic.Pointer[view]   // never nil
	probe    atomic.Pointer[string] // the ID of the last probe that was given here; never nil
	claiming atomic.Bool            // somebody here asks for the probe
	look     chan struct{}          // asks Run to check that the consumer is paused
	said     once.States
}

type view struct {
	State
	revision uint64
}

// Open returns a breaker on an existing bucket, in the state that the broker knows.
// [Breaker.Run] keeps it up to date.
func Open(ctx context.Context, js jetstream.JetStream, o Options) (*Breaker, error) {
	b, err := bucket.Open(ctx, js, o.Bucket)
	if err != nil {
		return nil, fmt.Errorf("account: %w", err)
	}
	return New(ctx, b, natsConsumer{js, o.Stream, o.Consumer}, o)
}

// New returns a breaker on a bucket, for a consumer.
func New(ctx context.Context, in *bucket.Bucket, consumer Consumer, o Options) (*Breaker, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	b := &Breaker{
		bucket: in, consumer: consumer, worker: o.Worker,
		now:   func() time.Time { return o.Now().UTC() },
		log:   cmp.Or(o.Logger, slog.New(slog.DiscardHandler)),
		first: firstPause, look: make(chan struct{}, 1),
	}
	b.view.Store(&view{State: State{Phase: PhaseOpen}})
	b.probe.Store(new(string))
	if err := b.reload(ctx); err != nil {
		return nil, fmt.Errorf("account: open: %w", err)
	}
	return b, nil
}

// State tells how things stand, as far as this replica knows.
func (b *Breaker) State() State { return b.view.Load().State }

// Admit says whether a call may be made now. When a pause is over, one caller over
// all replicas is given the probe; that caller must end it with [Breaker.Passed],
// [Breaker.Trip] or [Breaker.Inconclusive]. The others are told how long to wait.
//
// The only error is that of ctx. In trouble with the broker the last known state
// counts, and a probe that can't be had within two seconds is tried for later.
func (b *Breaker) Admit(ctx context.Context) (domain.Admission, error) {
	v := b.view.Load()
	if !v.Closed() {
		return domain.Admission{Allowed: true}, nil
	}
	if now := b.now(); v.left(now) > 0 {
		return v.admission(now), nil
	}
	if !b.claiming.CompareAndSwap(false, true) { // one replica needs no more
		return domain.Admission{Wait: shortWait}, nil
	}
	defer b.claiming.Store(false)
	v, err := b.change(retry.Probe.Context(ctx), event{kind: admit})
	switch {
	case err != nil && ctx.Err() != nil:
		return domain.Admission{}, err
	case err != nil:
		b.warn(cantProbe, err)
		return domain.Admission{Wait: shortWait}, nil
	case v == nil:
		return b.view.Load().admission(b.now()), nil
	}
	b.warn(cantProbe, nil)
	b.probe.Store(&v.ID)
	b.log.Info("probing the account", "level", v.Level, "code", v.Code)
	return domain.Admission{Allowed: true, Probe: true}, nil
}

// Trip says that Aliyun refused a call for the whole account. It begins a pause, and after a failed probe the next,
// longer one. While the account is paused it changes nothing, as that call began before.
//
// It returns when to try the job again, also beside an error. The error says that the pause could not be recorded,
// or that the consumer is not yet paused, which [Breaker.Run] then does.
func (b *Breaker) Trip(ctx context.Context, code, message string) (time.Time, error) {
	v, err := b.change(ctx, event{kind: trip, code: code, message: message, first: b.first})
	if err != nil {
		return b.now().Add(shortWait), err
	}
	if v != nil {
		b.log.Error("Aliyun refuses the account: all replicas pause",
			"code", v.Code, "message", v.Message, "level", v.Level, "until", v.Until)
		if err = b.pause(ctx, v); err != nil {
			err = fmt.Errorf("the pause is recorded, but the consumer not yet paused: %w", err)
		}
	}
	now := b.now()
	return now.Add(b.view.Load().admission(now).Wait), err // an operator may have ended the pause already
}

// Passed says that Aliyun judged a message, so the account works. If this replica holds the probe, the breaker
// opens and the consumer resumes. Otherwise it does nothing, at the cost of an atomic load or two.
func (b *Breaker) Passed(ctx context.Context) error {
	before := b.view.Load()
	if !before.Closed() {
		return nil
	}
	v, err := b.change(ctx, event{kind: passed})
	if err != nil || v == nil {
		return err
	}
	b.log.Info("the account works again", "closed_for", v.Since.Sub(before.Since).Round(time.Second))
	return b.resume(ctx, before.Until)
}

// Inconclusive says that the probe told nothing about the account: the job was a duplicate or over a limit, or the
// call failed or was left in doubt. The next job may probe at once. Without the probe it does nothing.
func (b *Breaker) Inconclusive(ctx context.Context) error {
	_, err := b.change(ctx, event{kind: inconclusive})
	return err
}

// change writes what an event makes of the state, and returns that, or nil if the event
// changes nothing. The broker is asked only where it changes the state known here.
func (b *Breaker) change(ctx context.Context, e event) (*view, error) {
	start := b.view.Load()
	if start.Phase == PhaseProbing && start.ID == *b.probe.Load() {
		e.probe = start.ID
	}
	if start.after(e, b.now()) == nil {
		return nil, nil
	}
	known, wrote := start, false
	stored, err := b.bucket.Change(ctx, stateKey, &bucket.Entry{Revision: known.revision}, func(found bucket.Entry) ([]byte, error) {
		if wrote = found.Own; wrote {
			return nil, nil
		}
		// If what is stored is older than what is known, or gone, it was dropped or the bucket recreated, and our
		// state is written over it. If only the reading is stale, the server refuses that.
		if found.Revision > known.revision {
			known = b.parse(found)
			b.observe(known)
		}
		state := known.after(e, b.now())
		if wrote = state != nil; !wrote {
			return nil, nil
		}
		state.ID, state.Worker = rand.Text(), b.worker
		return json.Marshal(state)
	})
	if err != nil {
		return nil, fmt.Errorf("account: %s: %w", e.kind, err)
	}
	if !wrote {
		return nil, nil
	}
	after := b.parse(stored)
	if after.revision <= start.revision {
		b.view.CompareAndSwap(start, after) // the bucket was recreated and counts from the start
	}
	b.observe(after)
	return after, nil
}

// observe makes a state the view if it is newer, and reports whether it was.
func (b *Breaker) observe(v *view) bool {
	for known := b.view.Load(); v.revision > known.revision; known = b.view.Load() {
		if b.view.CompareAndSwap(known, v) {
			return true
		}
	}
	return false
}

// parse reads what is stored. What can't be read counts as open: if the account
// still fails, the next call closes the breaker again.
func (b *Breaker) parse(found bucket.Entry) *view {
	state, err := decode(found.Value)
	if err != nil {
		b.log.Error("the account breaker opens", "revision", found.Revision, "error", err)
		state = State{Phase: PhaseOpen}
	}
	// A replica whose clock is far ahead must not stop the others for as long.
	latest := b.now().Add(longestPause)
	for _, end := range []*time.Time{&state.Until, &state.ProbeUntil} {
		if end.After(latest) {
			*end = latest
		}
	}
	return &view{state, found.Revision}
}

func (b *Breaker) reload(ctx context.Context) error {
	found, err := b.bucket.Get(ctx, stateKey)
	if err == nil {
		b.observe(b.parse(found))
	}
	return err
}
