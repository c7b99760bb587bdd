// Package account stops every replica while Aliyun answers for the whole account:
// no balance, arrears, a wrong key, a cap on the account. Each further call would
// only fail too, and some failures count against the account.
//
// The replica that sees such an answer trips the breaker. The consumer is paused on
// the server, so no replica is given a job. When the pause has run out the next
// job is sent as the probe, one over all replicas. If it gets through, everything
// flows again; if not, the next pause begins, twice as long.
//
//	         Trip                     pause over, Admit
//	open ───────────▶ paused(level 1) ────────────────▶ probing ── Passed ──▶ open
//	                     ▲    ▲                         │  │ │
//	                     │    └────── Inconclusive ─────┘  │ └─ probe lost: Admit, after a time-out
//	                     └───────── Trip, level + 1 ───────┘
//
// The state is one JSON document in a key-value bucket, changed by compare-and-swap
// alone. Each breaker follows it with a watch and reads it again every ten seconds.
// Without the broker the last known state counts.
//
// The document is written first, the consumer paused second. A worker that dies
// between the two leaves a breaker that is closed for every replica, while the server
// still hands out jobs, which are all requeued. Every replica that sees a pause
// therefore checks a moment later that the consumer is paused, and pauses it. A
// worker that dies with the probe leaves it to the next one once its time is over.
// One that dies before it resumes the consumer leaves a pause that ends by itself.
//
// A call that began before the breaker was tripped may end after. Its success opens
// nothing, because only the probe's does; its failure neither lengthens a pause
// nor disturbs another replica's probe. The first pause is longer than a call may
// last, so that no such call is left when the breaker opens again.
//
// A pause is kept by each replica's own clock, on the server by the server's. A
// difference between clocks makes a probe that much earlier or later. No replica
// waits longer than the longest pause after it saw one, whatever time the document
// names.
package account

import (
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
	// stateKey is where the state lies in the bucket.
	stateKey = "account"

	firstPause   = 30 * time.Second
	longestPause = 15 * time.Minute
	// probeTimeout is how long a prober may take before another one probes. It is
	// longer than a call to Aliyun.
	probeTimeout = 15 * time.Second
	// shortWait is how long a job waits while the probe is made: it should be back
	// soon after its end, and not so soon that the broker is kept busy.
	shortWait = time.Second

	cantProbe = "the account can't be probed for now"
)

// Options say what a breaker pauses.
type Options struct {
	// Bucket is the name of an existing key-value bucket. Where it drops old values
	// it must keep them longer than the longest pause. A state that is lost while
	// paused is probed like any other.
	Bucket string
	// Stream and Consumer name the consumer that is paused.
	Stream, Consumer string
	// Worker is this replica's name, for people.
	Worker string
	// Now is the clock; default [time.Now].
	Now func() time.Time
	// Logger tells of openings and closings, and of trouble with the broker;
	// default: nobody.
	Logger *slog.Logger
}

// Breaker is one replica's view of the account. Its methods may be called by any
// number of goroutines.
type Breaker struct {
	bucket         *bucket.Bucket
	consumer       Consumer
	worker         string
	now            func() time.Time
	log            *slog.Logger
	first, longest time.Duration // pauses

	view  atomic.Pointer[view]   // never nil
	probe atomic.Pointer[string] // the ID of the last probe that was given here
	// claiming is true while somebody here asks for the probe.
	claiming atomic.Bool
	// look asks Run to see to it that the consumer is paused.
	look chan struct{}
	said once.States
}

// view is the newest state known, and what follows from it here.
type view struct {
	State
	revision uint64
	// until is the end of the pause or of the probe's time, by the local clock.
	until time.Time
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
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Breaker{
		bucket: in, consumer: consumer, worker: o.Worker, log: o.Logger,
		now:   func() time.Time { return o.Now().UTC() },
		first: firstPause, longest: longestPause, look: make(chan struct{}, 1),
	}
	b.view.Store(&view{State: State{Phase: PhaseOpen}})
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
// Trouble with the broker is no error here: the last known state then counts, and
// a probe that can't be had within two seconds is tried for later. The only
// error is that of ctx.
func (b *Breaker) Admit(ctx context.Context) (domain.Admission, error) {
	if v := b.view.Load(); !v.Closed() || v.until.After(b.now()) {
		return b.admission(v), nil
	}
	if !b.claiming.CompareAndSwap(false, true) { // one replica needs no more
		return domain.Admission{Wait: shortWait}, nil
	}
	defer b.claiming.Store(false)
	bounded, cancel := retry.Probe.Context(ctx, nil)
	defer cancel()
	v, wrote, err := b.change(bounded, "admit", func(v *view) (State, bool) {
		return v.probed(b.now(), probeTimeout), v.Closed() && !v.until.After(b.now())
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return domain.Admission{}, err
	case err != nil:
		b.warn(cantProbe, err)
		return domain.Admission{Wait: shortWait}, nil
	case wrote:
		b.warn(cantProbe, nil)
		b.probe.Store(&v.ID)
		b.log.Info("probing the account", "level", v.Level, "code", v.Code)
		return domain.Admission{Allowed: true, Probe: true}, nil
	default:
		return b.admission(v), nil
	}
}

// admission is the answer where no probe is due.
func (b *Breaker) admission(v *view) domain.Admission {
	now := b.now()
	return domain.Admission{Allowed: !v.Closed(), Wait: v.again(now).Sub(now)}
}

// again is when a job may be tried that is held back at this time.
func (v *view) again(now time.Time) time.Time {
	switch left := v.until.Sub(now); {
	case !v.Closed() || left <= 0:
		return now
	case v.Phase == PhaseProbing:
		return now.Add(min(left, shortWait))
	default:
		return v.until
	}
}

// Trip says that Aliyun refused a call for the whole account. It begins a pause, and
// after a failed probe the next, longer one. Where the account is paused already it
// changes nothing: that call began before.
//
// It returns when to try the job again, which is never before now. The time holds
// also beside an error; the error then says that the pause could not be recorded,
// or that it is recorded but the consumer not yet paused, which [Breaker.Run] does.
func (b *Breaker) Trip(ctx context.Context, code, message string) (time.Time, error) {
	known := b.view.Load()
	probing := b.holds(known)
	if known.Closed() && !probing { // one of many at once; the first has done it
		return known.again(b.now()), nil
	}
	v, wrote, err := b.change(ctx, "trip", func(v *view) (State, bool) {
		// A probe that took so long that another one got through is old news.
		trip := b.holds(v) || !v.Closed() && !probing
		return v.tripped(b.now(), b.first, b.longest, code, message), trip
	})
	if err != nil {
		return b.now().Add(shortWait), err
	}
	if !wrote {
		return v.again(b.now()), nil
	}
	b.log.Error("Aliyun refuses the account: all replicas pause",
		"code", v.Code, "message", v.Message, "level", v.Level, "until", v.Until)
	if err := b.pause(ctx, v); err != nil {
		return v.again(b.now()), fmt.Errorf("the pause is recorded, but the consumer not yet paused: %w", err)
	}
	return b.view.Load().again(b.now()), nil // an operator may have ended it already
}

// Passed says that Aliyun answered a call for itself, whatever it said of that one
// message: the account works. Where this replica holds the probe, calls are made
// again and the consumer resumes. In every other case it does nothing, at the cost of
// an atomic load or two.
func (b *Breaker) Passed(ctx context.Context) error {
	before := b.view.Load()
	if !b.holds(before) {
		return nil
	}
	v, wrote, err := b.change(ctx, "open", func(v *view) (State, bool) { return opened(b.now()), b.holds(v) })
	if err != nil || !wrote {
		return err
	}
	b.log.Info("the account works again", "closed_for", v.Since.Sub(before.Since).Round(time.Second))
	return b.resume(ctx, before)
}

// Inconclusive says that the probe ended without a word on the account: the job was a
// duplicate or was denied by a limit of ours, the call failed on its way or was
// left in doubt. The next job may probe at once. Without the probe it does nothing.
func (b *Breaker) Inconclusive(ctx context.Context) error {
	if !b.holds(b.view.Load()) {
		return nil
	}
	_, _, err := b.change(ctx, "leave the probe", func(v *view) (State, bool) { return v.due(b.now()), b.holds(v) })
	return err
}

// ProbeNow ends the pause, for an operator who has put the account in order: the
// next job is the probe. The consumer resumes unless somebody else has paused it for
// longer. Where there is no pause it does nothing.
func (b *Breaker) ProbeNow(ctx context.Context) error {
	var before *view
	_, wrote, err := b.change(ctx, "probe now", func(v *view) (State, bool) {
		before = v
		return v.due(b.now()), v.Phase == PhasePaused && v.until.After(b.now())
	})
	if err != nil || !wrote {
		return err
	}
	return b.resume(ctx, before)
}

// holds reports whether this replica holds the probe. It loses it when its time is
// over and another one takes it.
func (b *Breaker) holds(v *view) bool {
	probe := b.probe.Load()
	return v.Phase == PhaseProbing && probe != nil && *probe == v.ID
}

// change changes the state. next gives the one to write, or false where there is
// nothing to do. change returns the view after it and whether it wrote.
func (b *Breaker) change(ctx context.Context, call string, next func(*view) (State, bool)) (after *view, wrote bool, err error) {
	start := b.view.Load()
	known := start
	stored, err := b.bucket.Change(ctx, stateKey, &bucket.Entry{Revision: known.revision}, func(found bucket.Entry) ([]byte, error) {
		if wrote = found.Own; wrote {
			return nil, nil
		}
		// What is older than the state known, or gone, was dropped by its age, or the
		// bucket was recreated: then our state stands and goes over that revision. Or
		// the reading is stale: then the server refuses that.
		if found.Revision > known.revision {
			known = b.parse(found)
			b.observe(known)
		}
		var state State
		if state, wrote = next(known); !wrote {
			return nil, nil
		}
		state.ID, state.Worker = rand.Text(), b.worker
		return json.Marshal(state)
	})
	switch {
	case err != nil:
		return nil, false, fmt.Errorf("account: %s: %w", call, err)
	case !wrote:
		return known, false, nil
	}
	after = b.parse(stored)
	if after.revision <= start.revision {
		b.view.CompareAndSwap(start, after) // the bucket was recreated and counts from the start
	}
	b.observe(after)
	return after, true, nil
}

// observe makes a state the view if it is newer, and reports whether it was.
func (b *Breaker) observe(v *view) bool {
	for {
		known := b.view.Load()
		if v.revision <= known.revision {
			return false
		}
		if b.view.CompareAndSwap(known, v) {
			return true
		}
	}
}

// parse reads what is stored. What can't be read counts as open: an account that
// still fails closes the breaker again with the next call, while one that stays
// closed for a fault nobody sees sends nothing at all.
func (b *Breaker) parse(found bucket.Entry) *view {
	state, err := decode(found.Value)
	if err != nil {
		b.log.Error("the account breaker opens", "revision", found.Revision, "error", err)
		state = State{Phase: PhaseOpen}
	}
	v := &view{State: state, revision: found.Revision, until: state.Until}
	if state.Phase == PhaseProbing {
		v.until = state.ProbeUntil
	}
	// A replica whose clock is far ahead must not stop the others for as long.
	if latest := b.now().Add(b.longest); v.until.After(latest) {
		v.until = latest
	}
	return v
}

// reload reads the state and takes it over if it is newer.
func (b *Breaker) reload(ctx context.Context) error {
	found, err := b.bucket.Get(ctx, stateKey)
	if err == nil {
		b.observe(b.parse(found))
	}
	return err
}
