// Package request has the command that shows one request.
package request

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/app"
	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/jobs"
	"github.com/passcode-worker/passcode-worker/internal/ledger"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Cmd is "worker request".
type Cmd struct {
	ID      string `arg:"" help:"The request id."`
	JSON    bool   `name:"json" help:"The last state as JSON, on one line."`
	History bool   `help:"With --json: every state that is kept, oldest first, one a line."`
}

// Run shows how a request stands and the way it went.
func (r *Cmd) Run(e *command.Env) error {
	if !passcode.ValidRequestID(r.ID) {
		return command.Usagef("worker request: a request id is 1 to %d of A-Z a-z 0-9 _ -", passcode.MaxRequestIDLen)
	}
	if r.History && !r.JSON {
		return command.Usagef("worker request: --history goes with --json; the page for people shows it anyway")
	}
	cfg, l, err := e.Connect()
	if err != nil {
		return err
	}
	defer l.NC.Close()
	records, err := ledger.Open(e.Stop, l.JS, cfg.Results.Bucket)
	if errors.Is(err, bucket.ErrMissing) {
		return fmt.Errorf("there is no bucket %s: no worker has run on this broker yet", cfg.Results.Bucket)
	}
	if err != nil {
		return err
	}
	var way []passcode.Result
	lost := false
	if r.JSON && !r.History {
		way = make([]passcode.Result, 1)
		way[0], _, err = records.Get(e.Stop, r.ID)
	} else {
		way, lost, err = r.way(e.Stop, cfg, l, records)
	}
	if errors.Is(err, domain.ErrNotFound) {
		show.Say(e.Stderr, "no record of request %s", r.ID)
		return whereIsIt(e, cfg, l, r.ID)
	}
	if err != nil {
		return err
	}
	if !r.JSON {
		return r.page(e, cfg, l, way, lost)
	}
	out := show.JSONLines(e.Stdout)
	for _, rec := range way {
		if err := out.Encode(rec); err != nil {
			return err
		}
	}
	return nil
}

// way returns the states that are kept, and whether the request is under way
// while its job is gone. The record is read again after the stream, since the job
// may have been done between the two.
func (r *Cmd) way(ctx context.Context, cfg config.Config, l *app.Link, records *ledger.Ledger) (way []passcode.Result, lost bool, err error) {
	way, err = records.History(ctx, r.ID)
	if err != nil || way[len(way)-1].Final || !jobGone(ctx, cfg, l, way[len(way)-1]) {
		return way, false, err
	}
	way, err = records.History(ctx, r.ID)
	return way, err == nil && !way[len(way)-1].Final, err
}

// page shows a request to people.
func (r *Cmd) page(e *command.Env, cfg config.Config, l *app.Link, way []passcode.Result, lost bool) error {
	letters, err := lettersOf(e.Stop, cfg, l, r.ID)
	if err != nil {
		return err
	}
	now, last := time.Now(), way[len(way)-1]
	next := []string{nextCommand(last, letters, now)}
	switch {
	case lost:
		next[0] = fmt.Sprintf("Its job is gone from the stream without an end, so nothing more happens: somebody removed it. "+
			"If they terminated it, \"worker dlq show seq-%d\" says more. Either its producer publishes the same job again, "+
			"or the user asks for a new passcode.", last.StreamSeq)
	case !last.Final:
		next = append(next, queueLines(e.Stop, cfg, l, now)...)
	}
	showRequest(e.Stdout, way, now, next)
	return nil
}

// jobGone reports whether the job that owns a record is surely not in the stream.
func jobGone(ctx context.Context, cfg config.Config, l *app.Link, rec passcode.Result) bool {
	ctx, cancel := context.WithTimeoutCause(ctx, command.Patience, fmt.Errorf("no answer from the broker within %s", command.Patience))
	defer cancel()
	waits, err := jobs.NewSource(l.JS, jobs.SourceOptions{Stream: cfg.Jobs.Stream}).Waits(ctx, rec.StreamSeq, rec.RequestID)
	return err == nil && !waits
}

// lettersOf returns the reasons of the dead letters that there are of a request.
func lettersOf(ctx context.Context, cfg config.Config, l *app.Link, id string) ([]passcode.Reason, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, command.Patience, fmt.Errorf("no answer from the broker within %s", command.Patience))
	defer cancel()
	stream, err := l.JS.Stream(ctx, cfg.DeadLetters.Stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for dead letters: %w", err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(cfg.DeadLetters.Subject+".*."+id))
	if err != nil {
		return nil, fmt.Errorf("look for dead letters: %w", err)
	}
	var reasons []passcode.Reason
	for _, reason := range passcode.Reasons() {
		if info.State.Subjects[cfg.DeadLetters.Subject+"."+string(reason)+"."+id] > 0 {
			reasons = append(reasons, reason)
		}
	}
	return reasons, nil
}

// whereIsIt tells what to look at where a request has no record.
func whereIsIt(e *command.Env, cfg config.Config, l *app.Link, id string) error {
	letters, err := lettersOf(e.Stop, cfg, l, id)
	if err != nil {
		return err
	}
	if len(letters) > 0 {
		show.Say(e.Stderr, "it has a dead letter, %s: \"worker dlq show %s\" shows it", letters[0], id)
		return command.ErrSaid
	}
	show.Say(e.Stderr, "no worker has taken it up yet, it was never published, or it is older than results.retention (%s)",
		domain.FormatDuration(cfg.Results.Retention))
	for _, line := range queueLines(e.Stop, cfg, l, time.Now()) {
		show.Say(e.Stderr, "%s", line)
	}
	return command.ErrSaid
}

// queueLines describe how jobs flow.
func queueLines(ctx context.Context, cfg config.Config, l *app.Link, now time.Time) []string {
	ctx, cancel := context.WithTimeoutCause(ctx, command.Patience, fmt.Errorf("no answer from the broker within %s", command.Patience))
	defer cancel()
	stream, err := l.JS.Stream(ctx, cfg.Jobs.Stream)
	if err != nil {
		return []string{fmt.Sprintf("the jobs stream can't be looked at: %v", command.NeverRun(cfg, err))}
	}
	consumer, err := stream.Consumer(ctx, cfg.Jobs.Consumer)
	if err != nil {
		return []string{fmt.Sprintf("the consumer can't be looked at: %v", command.NeverRun(cfg, err))}
	}
	state, info := stream.CachedInfo().State, consumer.CachedInfo()
	lines := []string{fmt.Sprintf("%d jobs wait for a worker, %d are in hand or wait for another attempt", info.NumPending, info.NumAckPending)}
	if state.Msgs > 0 {
		lines[0] += ", the oldest since " + show.Moment(state.FirstTime, now)
	}
	switch {
	case info.Paused:
		lines = append(lines, "jobs are paused for all workers: \"worker resume\" ends it, and says whose pause it was")
	case info.NumWaiting == 0:
		lines = append(lines, "no worker asks for jobs at the moment: is one running, and ready (\"worker health\")?")
	}
	return lines
}
