// Package request has the command that shows one request.
package request

import (
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/deadletter"
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

type session struct {
	*command.Env
	records *ledger.Ledger
	id      string
	now     time.Time
}

// Run shows how a request stands and its history.
func (r *Cmd) Run(e *command.Env) error {
	if !passcode.ValidRequestID(r.ID) {
		return command.Usagef("worker request: a request id is 1 to %d of A-Z a-z 0-9 _ -", passcode.MaxRequestIDLen)
	}
	if r.History && !r.JSON {
		return command.Usagef("worker request: --history goes with --json; the page for people shows it anyway")
	}
	if err := e.Connect(); err != nil {
		return err
	}
	records, err := ledger.Open(e.Stop, e.JS, e.Cfg.Results.Bucket)
	if err != nil {
		return e.NeverRun(e.Cfg.Results.Bucket, err)
	}
	s := &session{Env: e, records: records, id: r.ID, now: time.Now()}
	history, lost, err := s.history()
	switch {
	case errors.Is(err, domain.ErrNotFound):
		e.Note("no record of request %s", r.ID)
		return s.whereIsIt()
	case err != nil:
		return err
	case !r.JSON:
		return s.page(history, lost)
	case !r.History:
		history = history[len(history)-1:]
	}
	list := show.NewListing(e.Stdout, true)
	for _, record := range history {
		list.Add(record)
	}
	return list.Flush()
}

// history returns the states that are kept, and whether the request is in progress while its job is surely not in
// the stream. The record is read again after the stream, since the job may have been done between the two.
func (s *session) history() (history []passcode.Result, lost bool, err error) {
	history, err = s.records.History(s.Stop, s.id)
	if err != nil || history[len(history)-1].Final {
		return history, false, err
	}
	ctx, cancel := command.Bounded(s.Stop)
	defer cancel()
	source := jobs.NewSource(s.JS, jobs.SourceOptions{Stream: s.Cfg.Jobs.Stream})
	waits, unknown := source.Waits(ctx, history[len(history)-1].StreamSeq, s.id)
	if waits || unknown != nil {
		return history, false, nil
	}
	history, err = s.records.History(s.Stop, s.id)
	return history, err == nil && !history[len(history)-1].Final, err
}

func (s *session) page(history []passcode.Result, lost bool) error {
	reason, err := s.deadReason()
	if err != nil {
		return err
	}
	last := history[len(history)-1]
	next := []string{nextCommand(last, reason != "", s.now)}
	switch {
	case lost:
		next[0] = fmt.Sprintf("Its job is gone from the stream without an end, so nothing more happens: somebody removed it. "+
			"If they terminated it, \"worker dlq show seq-%d\" says more. Either its producer publishes the same job again, "+
			"or the user asks for a new passcode.", last.StreamSeq)
	case !last.Final:
		next = append(next, s.queue()...)
	}
	return showRequest(s.Stdout, history, s.now, next)
}

// deadReason returns why the request has a dead letter, empty where it has none.
func (s *session) deadReason() (string, error) {
	ctx, cancel := command.Bounded(s.Stop)
	defer cancel()
	reason, err := deadletter.Find(ctx, s.JS, s.Cfg.DeadLetters.Stream, s.Cfg.DeadLetters.Subject, s.id)
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return "", fmt.Errorf("look for dead letters: %w", err)
	}
	return reason, nil
}

func (s *session) whereIsIt() error {
	reason, err := s.deadReason()
	if err != nil {
		return err
	}
	if reason != "" {
		s.Note("it has a dead letter, %s: \"worker dlq show %s\" shows it", reason, s.id)
		return command.ErrSaid
	}
	s.Note("no worker has taken it up yet, it was never published, or it is older than results.retention (%s)",
		domain.FormatDuration(s.Cfg.Results.Retention))
	for _, line := range s.queue() {
		s.Note("%s", line)
	}
	return command.ErrSaid
}

// queue describes how jobs flow.
func (s *session) queue() []string {
	ctx, cancel := command.Bounded(s.Stop)
	defer cancel()
	stream, err := s.JS.Stream(ctx, s.Cfg.Jobs.Stream)
	var consumer jetstream.Consumer
	if err == nil {
		consumer, err = stream.Consumer(ctx, s.Cfg.Jobs.Consumer)
	}
	if err != nil {
		return []string{fmt.Sprintf("how jobs flow can't be seen: %v", s.NeverRun(s.Cfg.Results.Bucket, err))}
	}
	state, info := stream.CachedInfo().State, consumer.CachedInfo()
	lines := []string{fmt.Sprintf("%s for a worker, %d are in hand or wait for another attempt", show.JobsWait(info.NumPending), info.NumAckPending)}
	if state.Msgs > 0 {
		lines[0] += ", the oldest since " + show.Moment(state.FirstTime, s.now)
	}
	switch {
	case info.Paused:
		lines = append(lines, "jobs are paused for all workers: \"worker resume\" ends it, and says whose pause it was")
	case info.NumWaiting == 0:
		lines = append(lines, "no worker asks for jobs at the moment: is one running, and ready (\"worker health\")?")
	}
	return lines
}
