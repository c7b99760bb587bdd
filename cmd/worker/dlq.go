package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/deadletter"
	"github.com/passcode-worker/passcode-worker/internal/ledger"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// dlqCmd is "worker dlq".
type dlqCmd struct {
	List    dlqListCmd    `cmd:"" help:"List dead letters, newest first."`
	Show    dlqShowCmd    `cmd:"" help:"Show all about the dead letters of one request."`
	Replay  dlqReplayCmd  `cmd:"" help:"Publish the jobs of dead letters again."`
	Discard dlqDiscardCmd `cmd:"" help:"Remove dead letters for good."`
	Export  dlqExportCmd  `cmd:"" help:"Write dead letters as JSON lines."`
}

// reasons are the words that --reason takes.
func reasons() string {
	words := make([]string, 0, len(passcode.Reasons()))
	for _, r := range passcode.Reasons() {
		words = append(words, string(r))
	}
	return strings.Join(words, ",")
}

// dlqFilter are the flags that pick dead letters.
type dlqFilter struct {
	ID        []string          `name:"id" placeholder:"REQUEST" sep:"none" help:"Of this request; seq-N where the job had no readable id. May be repeated."`
	Reason    []passcode.Reason `placeholder:"REASON" enum:"${reasons}" help:"With this reason: ${reasons}. May be repeated."`
	ErrorCode []string          `placeholder:"CODE" sep:"none" help:"With this error code. May be repeated."`
	Since     timeFlag          `placeholder:"TIME" help:"Died at or after this time: RFC 3339, or how long ago, such as 2h."`
	Until     timeFlag          `placeholder:"TIME" help:"Died before this time."`
}

// filter checks the flags and returns what they pick.
func (f dlqFilter) filter(now time.Time) (deadletter.Filter, error) {
	for _, id := range f.ID {
		if !passcode.ValidRequestID(id) {
			return deadletter.Filter{}, usageError{fmt.Errorf("--id: a request id is 1 to %d of A-Z a-z 0-9 _ -", passcode.MaxRequestIDLen)}
		}
	}
	filter := deadletter.Filter{
		IDs: f.ID, Reasons: f.Reason, ErrorCodes: f.ErrorCode, Since: f.Since.at(now), Until: f.Until.at(now),
	}
	if !filter.Since.IsZero() && !filter.Until.IsZero() && !filter.Since.Before(filter.Until) {
		return filter, usageError{errors.New("--since: must be before --until")}
	}
	return filter, nil
}

// dlqChoice are the flags of commands that change what they pick, so that one
// has to say so to pick everything.
type dlqChoice struct {
	dlqFilter
	All bool `help:"All dead letters."`
}

func (f dlqChoice) filter(now time.Time) (deadletter.Filter, error) {
	filter, err := f.dlqFilter.filter(now)
	switch {
	case err != nil:
		return filter, err
	case filter.Empty() && !f.All:
		return filter, usageError{errors.New("say which dead letters: --id, --reason, --error-code, --since or --until, or --all")}
	case !filter.Empty() && f.All:
		return filter, usageError{errors.New("--all: picks every dead letter, so no other filter may stand beside it")}
	}
	return filter, nil
}

// dlq is what the dlq commands work with.
type dlq struct {
	cfg     config.Config
	link    *link
	letters *deadletter.Browser
	// filter picks dead letters, by the time that the command began.
	filter deadletter.Filter
	now    time.Time
}

// openDLQ checks what a command is to pick, connects and opens the dead-letter
// stream. The caller closes the connection.
func (c *cli) openDLQ(e *env, picks func(now time.Time) (deadletter.Filter, error)) (*dlq, error) {
	now := time.Now()
	filter, err := picks(now)
	if err != nil {
		return nil, err
	}
	cfg, l, err := c.connected(e)
	if err != nil {
		return nil, err
	}
	letters, err := deadletter.Browse(e.stop, l.js, cfg.DeadLetters.Stream, cfg.DeadLetters.Subject)
	if errors.Is(err, deadletter.ErrNoStream) {
		err = fmt.Errorf("%w: start a worker, or run \"worker provision\"", err)
	}
	if err != nil {
		l.nc.Close()
		return nil, err
	}
	return &dlq{cfg: cfg, link: l, letters: letters, filter: filter, now: now}, nil
}

// replayer returns what replays dead letters, and the records that it asks.
func (d *dlq) replayer(ctx context.Context, ttl time.Duration) (*deadletter.Replayer, *ledger.Ledger, error) {
	records, err := ledger.Open(ctx, d.link.js, d.cfg.Results.Bucket)
	if err != nil {
		return nil, nil, fmt.Errorf("the requests' records: %w", err)
	}
	return deadletter.NewReplayer(deadletter.ReplayOptions{
		Browser: d.letters, Records: records,
		Stream: d.cfg.Jobs.Stream, Subject: d.cfg.Jobs.Subject,
		Life: deadletter.Life{TTL: ttl, PasscodeTTL: d.cfg.Worker.PasscodeTTL},
	}), records, nil
}

// nonePicked says that there is nothing to do. Who names a request expects it to be
// there, so then it is a failure.
func (d *dlq) nonePicked(e *env) error {
	say(e.stderr, "no dead letters%s", picked(d.filter))
	if len(d.filter.IDs) > 0 {
		return errSaid
	}
	return nil
}

// picked says that a filter was in the way.
func picked(f deadletter.Filter) string {
	if f.Empty() {
		return ""
	}
	return " that the filters pick"
}

func (d *dlq) close() { d.link.nc.Close() }

// stopped turns the end of a command by a signal into a plain word.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return errors.New("stopped")
	}
	return err
}
