// Package health watches the things a worker depends on, so that readiness and
// metrics can tell at once how they stand.
package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/internal/telemetry/once"
)

const (
	interval      = 2 * time.Second  // how often the broker is asked
	storeInterval = 10 * time.Second // and whether it stores jobs, unless it just did
	askTimeout    = 2 * time.Second  // of all questions of one time
	repairTimeout = 4 * time.Second
)

var (
	errNoAnswer = fmt.Errorf("no answer within %s", askTimeout)
	errNotAsked = errors.New("not asked yet")
)

// Options are what a Monitor needs.
type Options struct {
	JS               jetstream.JetStream
	Stream, Consumer string
	// Others are the further streams that a worker needs.
	Others []Stream
	// Repair makes what is missing, where it may, and says why it doesn't. It is called
	// each time that something is missing, and once more when nothing is any more.
	Repair func(ctx context.Context) error
	// Standing says what else in the broker has been failing for a while.
	Standing func() []error
	// Connected says whether the broker is reachable.
	Connected func() bool
	// Account says why nothing can be sent for the account; empty where it can.
	Account func() string
	// Pause explains a pause of the consumer by its end, in the same text while it lasts.
	// It is empty where Account tells all.
	Pause  func(ctx context.Context, until time.Time) (string, error)
	Logger *slog.Logger
}

// Stream is a stream, and what people call it, such as the bucket's name.
type Stream struct{ Name, Called string }

// Monitor asks the broker now and then about the jobs stream and its consumer.
type Monitor struct {
	Options
	now   func() time.Time
	every time.Duration
	told  once.States
	// When the server was last asked whether it stores jobs, and what was last stored.
	storeAsked time.Time
	lastSeq    uint64
	last       atomic.Pointer[snapshot]
}

type snapshot struct {
	err         error
	missing     []string // what does not exist
	unrepaired  error    // why it is still missing
	waiting     uint64   // jobs nobody has taken yet
	outstanding int      // jobs taken, or waiting for another attempt
	oldest      time.Time
	pausedFor   time.Duration
	pause       string // what there is to say of a pause
	leader      string // the server that stores the jobs
	storeError  string // why it stores none any more
}

// New returns a monitor.
func New(o Options) *Monitor {
	m := &Monitor{Options: o, now: time.Now, every: interval}
	m.last.Store(&snapshot{err: errNotAsked})
	return m
}

// Run asks until ctx ends.
func (m *Monitor) Run(ctx context.Context) {
	ticker := time.NewTicker(m.every)
	defer ticker.Stop()
	for repaired := true; ; {
		s := m.ask(ctx)
		if ctx.Err() != nil {
			return
		}
		if (len(s.missing) > 0 || !repaired) && s.err == nil {
			// Bounded so that the questions go on: it is called again.
			repairing, cancel := context.WithTimeoutCause(ctx, repairTimeout, fmt.Errorf("not done within %s", repairTimeout))
			s.unrepaired = m.Repair(repairing)
			cancel()
			repaired = len(s.missing) == 0 && s.unrepaired == nil
		}
		m.last.Store(&s)
		m.tell(s)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// tell logs what changed: the pause, a server that stores nothing, and whether the
// broker keeps jobs waiting, but not before it worked once.
func (m *Monitor) tell(s snapshot) {
	if s.err == nil && m.told.Changed("pause", s.pause) {
		if s.pause == "" {
			m.Logger.Info("jobs flow again")
		} else {
			m.Logger.Warn("jobs are paused for all workers", "pause", s.pause)
		}
	}
	if why := m.restart(); m.told.Changed("store", why) && why != "" {
		m.Logger.Error("a server of the broker must be restarted", "reason", why)
	}
	reasons, before := m.troubles(), m.told.Last("broker")
	switch {
	case len(reasons) == 0 && m.told.Changed("broker", "works") && before != "":
		m.Logger.Info("the broker works again")
	case len(reasons) > 0 && before != "" && m.told.Changed("broker", "fails"):
		m.Logger.Warn("the broker keeps jobs waiting", "reasons", reasons)
	}
}

func (m *Monitor) ask(ctx context.Context) snapshot {
	ctx, cancel := context.WithTimeoutCause(ctx, askTimeout, errNoAnswer)
	defer cancel()
	var s snapshot
	for _, other := range m.Others {
		if _, err := m.JS.Stream(ctx, other.Name); err != nil {
			s.failed(other.Called, err)
		}
	}
	stream, err := m.JS.Stream(ctx, m.Stream)
	if err != nil {
		s.failed("stream "+m.Stream, err)
		return s
	}
	// In a work queue the first message is the oldest job not done.
	state := stream.CachedInfo().State
	if state.Msgs > 0 {
		s.oldest = state.FirstTime
	}
	consumer, err := stream.Consumer(ctx, m.Consumer)
	if err != nil {
		s.failed("consumer "+m.Consumer, err)
		return s
	}
	info := consumer.CachedInfo()
	s.waiting, s.outstanding = info.NumPending, info.NumAckPending
	if info.Paused && info.Config.PauseUntil != nil {
		s.pausedFor = info.PauseRemaining
		if s.pause, err = m.Pause(ctx, *info.Config.PauseUntil); err != nil && s.err == nil {
			s.err = err
		}
	}
	s.leader, s.storeError = broker.Leader(m.JS, stream), m.last.Load().storeError
	if last := m.lastSeq; last != state.LastSeq || m.now().Sub(m.storeAsked) >= storeInterval {
		if last == state.LastSeq { // else it stores something
			s.storeError = broker.StoreError(ctx, stream)
		}
		m.lastSeq, m.storeAsked = state.LastSeq, m.now()
	}
	return s
}

// failed takes note of a question that was not answered as it should be. The first
// error is kept; the others are most likely the same.
func (s *snapshot) failed(what string, err error) {
	if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrConsumerNotFound) {
		s.missing = append(s.missing, what)
		return
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = errNoAnswer
	}
	if s.err == nil {
		s.err = fmt.Errorf("%s: %w", what, err)
	}
}

// troubles is what in the broker keeps the worker from doing its job.
func (m *Monitor) troubles() []string {
	if !m.Connected() { // which explains whatever fails
		return []string{"broker: not connected"}
	}
	var reasons []string
	s := m.last.Load()
	if s.err != nil {
		reasons = append(reasons, "broker: "+s.err.Error())
	}
	for _, what := range s.missing {
		reason := "broker: " + what + " does not exist"
		if s.unrepaired != nil {
			reason += ": " + s.unrepaired.Error()
		}
		reasons = append(reasons, reason)
	}
	for _, err := range m.Standing() {
		reasons = append(reasons, "broker: "+err.Error())
	}
	if why := m.restart(); why != "" {
		reasons = append(reasons, "broker: "+why)
	}
	return reasons
}

// restart says which server of the broker stores nothing more until it is restarted.
// Of the jobs' stream it says so itself; else it answers questions, but no writes.
func (m *Monitor) restart() string {
	s := m.last.Load()
	switch {
	case !m.Connected() || s.err != nil || len(s.missing) > 0:
		return ""
	case s.storeError != "":
		return fmt.Sprintf("%s stores no jobs (%s): make room on its disk, then restart it", s.leader, s.storeError)
	case slices.ContainsFunc(m.Standing(), func(err error) bool { return errors.Is(err, retry.ErrNoAnswer) }):
		return s.leader + " answers questions, but no writes: if its disk was full, make room, then restart it"
	default:
		return ""
	}
}

// NotReady returns what keeps the worker from doing its job.
func (m *Monitor) NotReady() []string {
	reasons := m.troubles()
	if s := m.last.Load(); s.pause != "" {
		reasons = append(reasons, "paused: "+s.pause)
	}
	if why := m.Account(); why != "" {
		reasons = append(reasons, "account: "+why)
	}
	return reasons
}

// Gauges hands over the monitor's figures, each with its name and what it says.
func (m *Monitor) Gauges(add func(name, help string, value func() float64)) {
	add("oldest_job_age_seconds", "Age of the oldest job in the stream that is not done.", func() float64 {
		if oldest := m.last.Load().oldest; !oldest.IsZero() {
			return max(m.now().Sub(oldest).Seconds(), 0)
		}
		return 0
	})
	add("jobs_waiting", "Jobs in the stream that no worker has taken yet.", func() float64 { return float64(m.last.Load().waiting) })
	add("jobs_outstanding", "Jobs that some worker handles or that wait for another attempt.",
		func() float64 { return float64(m.last.Load().outstanding) })
	add("consumer_paused", "1 while the consumer is paused on the server.", func() float64 { return oneIf(m.last.Load().pausedFor > 0) })
	add("consumer_pause_remaining_seconds", "How much is left of the consumer's pause; 0 while it isn't paused.",
		func() float64 { return m.last.Load().pausedFor.Seconds() })
	add("broker_restart_needed", "1 while a server of the broker stores nothing more until it is restarted.",
		func() float64 { return oneIf(m.restart() != "") })
}

func oneIf(set bool) float64 {
	if set {
		return 1
	}
	return 0
}
