package account

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/retry"
)

// shortWait is how long a job waits while the probe is under way: it should be
// back soon after the verdict, and not so soon that the broker is kept busy.
const shortWait = time.Second

// Options say what a gate pauses and for how long.
type Options struct {
	// Bucket is the name of an existing key-value bucket; the gate uses the key
	// "account" in it. Where the bucket drops old values it must keep them longer
	// than Max. A gate that is forgotten while paused is probed like any other.
	Bucket string
	// Stream and Consumer name the consumer that is paused.
	Stream, Consumer string
	// Worker is this replica's name, for people.
	Worker string
	// Initial is the first pause; default 30s. Each next one is twice as long, up
	// to Max; default 15m.
	Initial, Max time.Duration
	// ProbeTimeout is how long a prober may take before another one probes;
	// default 15s. It must be longer than a call to Aliyun.
	ProbeTimeout time.Duration
	// Now is the clock; default [time.Now].
	Now func() time.Time
	// Logger tells of openings and closings, and of trouble with the broker;
	// default: nobody.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	set := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	set(&o.Initial, 30*time.Second)
	set(&o.Max, 15*time.Minute)
	set(&o.ProbeTimeout, 15*time.Second)
	if o.Initial < 0 || o.ProbeTimeout < 0 || o.Max < o.Initial {
		return o, errors.New("gate: pauses and probes must last longer than 0, and Max at least as long as Initial")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// Breaker is one replica's view of the account gate. Its methods may be called by
// any number of goroutines.
type Breaker struct {
	store   store
	queue   queue
	options Options
	now     func() time.Time
	pause   func(level int) time.Duration
	log     *slog.Logger

	// view is never nil.
	view atomic.Pointer[view]
	// probe is the ID of the last probe that this gate was given.
	probe atomic.Pointer[string]
	// turn lets one call at a time change the document.
	turn chan struct{}
	mu   sync.Mutex // of writes to view
	// look asks Run to see to it that the consumer is paused.
	look chan struct{}
	// ttl is how long the bucket keeps a value; 0: for ever.
	ttl time.Duration
}

// view is the newest document known, and what follows from it here.
type view struct {
	document
	revision uint64
	// until is the end of the pause or of the probe's time, by the local clock.
	until time.Time
}

// State is what readiness and metrics show.
type State struct {
	Phase Phase `json:"state"`
	// Since is when the gate was tripped, or opened last; zero where it never was.
	Since time.Time `json:"since,omitzero"`
	// Until is the end of the pause. When it is past, the next job is the probe.
	Until time.Time `json:"until,omitzero"`
	// Level counts the pauses since the gate was open; 0 while it is.
	Level int `json:"level"`
	// Code and Message are Aliyun's, from the answer that began the pause, and
	// Worker is the replica that wrote this state.
	Code    string `json:"code,omitempty"`
	Message string `json:"message,omitempty"`
	Worker  string `json:"worker,omitempty"`
}

// Closed reports whether calls are held back: also when the pause is over, as
// long as no probe has got through.
func (s State) Closed() bool { return s.Phase != PhaseOpen }

// Open returns a gate on an existing bucket, in the state that the broker knows.
// [Breaker.Run] keeps it up to date.
func Open(ctx context.Context, js jetstream.JetStream, o Options) (*Breaker, error) {
	ctx, cancel := retry.Within(ctx, bucket.Patience)
	defer cancel()
	kv, err := bucket.Open(ctx, js, o.Bucket)
	switch {
	case errors.Is(err, bucket.ErrMissing):
		return nil, fmt.Errorf("gate: %w", err)
	case err != nil:
		return nil, failed(ctx, "open", err)
	}
	return newBreaker(ctx, kv, serverQueue{js, o.Stream, o.Consumer}, o)
}

func newBreaker(ctx context.Context, s store, q queue, o Options) (*Breaker, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	g := &Breaker{
		store: s, queue: q, options: o, log: o.Logger,
		now:   func() time.Time { return o.Now().UTC() },
		pause: pauseOf(o.Initial, o.Max),
		turn:  make(chan struct{}, 1),
		look:  make(chan struct{}, 1),
		ttl:   s.TTL(),
	}
	g.view.Store(&view{document: document{State: PhaseOpen}})
	if err := bucket.Retry(ctx, g.reload); err != nil {
		return nil, failed(ctx, "open", err)
	}
	return g, nil
}

// State tells how things stand, as far as this replica knows.
func (g *Breaker) State() State {
	v := g.view.Load()
	return State{
		Phase: v.State, Since: v.Since, Until: v.Until, Level: v.Level,
		Code: v.Code, Message: v.Message, Worker: v.Worker,
	}
}

// Admit says whether a call may be made now. While the gate is open it costs one
// atomic load. When a pause is over, one caller over all replicas is given the
// probe; that caller must end it with [Breaker.Passed], [Breaker.Trip] or
// [Breaker.GiveBack]. The others are told how long to wait.
//
// Trouble with the broker is no error here: the last known state then counts, and
// a probe that can't be claimed within two seconds is tried for later. The only
// error is that of ctx.
func (g *Breaker) Admit(ctx context.Context) (domain.Admission, error) {
	v := g.view.Load()
	if v.State == PhaseOpen {
		return domain.Admission{Allowed: true}, nil
	}
	if wait, over := g.waitFor(v); !over {
		return domain.Admission{Wait: wait}, nil
	}
	return g.claim(ctx)
}

// waitFor returns how long a job must wait while the gate is closed, and whether
// a probe is due instead.
func (g *Breaker) waitFor(v *view) (wait time.Duration, over bool) {
	left := v.until.Sub(g.now())
	switch {
	case left <= 0:
		return 0, true
	case v.State == PhaseProbing:
		return min(left, shortWait), false
	default:
		return left, false
	}
}

// claim tries to get the probe.
func (g *Breaker) claim(ctx context.Context) (domain.Admission, error) {
	select {
	case g.turn <- struct{}{}:
	default: // somebody here is at it; one claim a replica is enough
		return domain.Admission{Wait: shortWait}, nil
	}
	defer func() { <-g.turn }()

	bounded, cancel := retry.Within(ctx, claimPatience)
	defer cancel()
	var answer domain.Admission
	v, wrote, err := g.update(bounded, func(v *view) (document, bool) {
		if v.State == PhaseOpen {
			answer = domain.Admission{Allowed: true}
			return document{}, false
		}
		wait, over := g.waitFor(v)
		answer = domain.Admission{Wait: wait}
		return v.probed(g.now(), g.options.ProbeTimeout), over
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return domain.Admission{}, fmt.Errorf("gate: admit: %w", context.Cause(ctx))
	case err != nil:
		g.log.Warn("the account can't be probed for now", "error", failed(bounded, "claim the probe", err))
		return domain.Admission{Wait: shortWait}, nil
	case wrote:
		g.log.Info("probing the account", "level", v.Level, "code", v.Code)
		return domain.Admission{Allowed: true, Probe: true}, nil
	default:
		return answer, nil
	}
}
