package deadletter

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// takeUp is for a replay that finds its job published already and looks for what became of it.
var takeUp = retry.Policy{Total: 3 * time.Second, First: 50 * time.Millisecond, Longest: 100 * time.Millisecond, Passes: retry.NotFinal}

// Records tells how a request stands.
type Records interface {
	// Get returns the record of a request, or [domain.ErrNotFound].
	Get(ctx context.Context, requestID string) (passcode.Result, uint64, error)
}

// Replayer publishes the jobs of dead letters again. It may be used by many
// goroutines, and any number of replayers may work on the same stream.
//
// The order is: publish, see that the stream takes it for no duplicate, remove the dead letter. A replay that dies
// in between leaves a dead letter whose job is queued. The next one sees that by the message id, or by the replays
// in the request's record; where neither tells, the worker finds the record final and sends nothing.
type Replayer struct {
	Browser *Browser
	Records Records
	// Stream and Subject are where jobs are published (jobs.stream, jobs.subject).
	Stream, Subject string
	Life            Life
	DryRun          bool // only plan, change nothing
	Now             func() time.Time
}

// Plan says what a replay would do with a dead letter now. An error is the broker's.
func (r *Replayer) Plan(ctx context.Context, s Stored) (Plan, error) {
	record, err := r.record(ctx, s)
	if errors.Is(err, domain.ErrCorrupt) {
		return refuse(CauseCorrupt, "the request's record can't be read; remove it from the bucket first"), nil
	}
	if err != nil {
		return Plan{}, err
	}
	return Decide(s, record, r.Now(), r.Life), nil
}

// record returns how the request stands, nil where there is no record.
func (r *Replayer) record(ctx context.Context, s Stored) (*passcode.Result, error) {
	id := s.Request()
	if id == "" {
		return nil, nil
	}
	record, _, err := r.Records.Get(ctx, id)
	if errors.Is(err, domain.ErrNotFound) {
		return nil, nil
	}
	return &record, err
}

// Step is what a replay made of one dead letter, or would make of it.
type Step struct {
	ID     string          `json:"id"`
	Seq    uint64          `json:"seq"`
	Reason passcode.Reason `json:"reason"`
	Plan
	Request string `json:"-"` // the request's id
	Err     error  `json:"-"` // of the broker, with Failed
}

// Replay replays the dead letter of one sequence. permit is called right before the job is published, to keep a
// pace. Up to then the end of stopping ends it; what has begun goes on, unless work ends as well.
func (r *Replayer) Replay(work, stopping context.Context, seq uint64, permit func(context.Context) error) Step {
	s, err := r.Browser.Get(stopping, seq)
	if errors.Is(err, ErrGone) {
		return Step{Seq: seq, Plan: gone}
	}
	var plan Plan
	if err == nil {
		plan, err = r.Plan(stopping, s)
	}
	if err == nil && plan.Action == Replayed && !r.DryRun {
		if err = permit(stopping); err == nil {
			plan, err = r.publish(work, s, plan)
		}
	}
	if err == nil && (plan.Action == Replayed || plan.Action == Already) && !r.DryRun {
		err = r.Browser.Remove(work, seq)
	}
	if err != nil {
		plan.Action, plan.Cause, plan.Why = Failed, "broker", err.Error()
	}
	return Step{ID: s.ID, Seq: seq, Reason: s.Reason, Plan: plan, Request: s.Request(), Err: err}
}

var gone = Plan{Action: Gone, Why: "another replay or a discard took it away meanwhile"}

// publish makes the replay that was planned, and returns what it came to.
func (r *Replayer) publish(ctx context.Context, s Stored, plan Plan) (Plan, error) {
	number := strconv.Itoa(plan.Number)
	msg := &nats.Msg{Subject: r.Subject, Data: plan.Body, Header: nats.Header{}}
	s.setCarried(msg.Header)
	msg.Header.Set(domain.HeaderReplay, number)
	msg.Header.Set(jetstream.MsgIDHeader, s.Request()+"-replay-"+number)
	msg.Header.Set(jetstream.ExpectedStreamHeader, r.Stream)
	duplicate, inDoubt := false, false
	err := retry.Do(ctx, func(ctx context.Context) error {
		ack, err := r.Browser.js.PublishMsg(ctx, msg, jetstream.WithRetryAttempts(0))
		if err != nil {
			inDoubt = inDoubt || !retry.NeverSent(err)
			return err
		}
		// What an earlier try stored, whose answer was lost, is our own.
		duplicate = ack.Duplicate && !inDoubt
		return nil
	})
	switch {
	case err != nil:
		return Plan{}, fmt.Errorf("publish the job on %s: %w", r.Subject, err)
	case duplicate:
		return r.published(ctx, s, plan.Number), nil
	default:
		return plan, nil
	}
}

// published deals with a job that another replay has published. The dead letter is
// removed once the record shows that a worker took the job up, and not before.
func (r *Replayer) published(ctx context.Context, s Stored, number int) (plan Plan) {
	err := takeUp.Do(ctx, func(ctx context.Context) error {
		if _, err := r.Browser.Get(ctx, s.Seq); errors.Is(err, ErrGone) {
			plan = gone
			return nil
		}
		record, err := r.record(ctx, s)
		if err != nil {
			return err
		}
		if record == nil || record.Replays < number {
			return retry.ErrAgain
		}
		plan = Plan{Action: Already, Why: "another replay published it", Stands: record.Status}
		return nil
	})
	if err != nil {
		return refuse(CauseQueued, "another replay queued it, and no worker has taken it up yet")
	}
	return plan
}
