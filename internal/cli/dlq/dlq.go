// Package dlq has the commands on dead letters.
package dlq

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/app"
	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/deadletter"
	"github.com/passcode-worker/passcode-worker/internal/ledger"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Cmd is "worker dlq".
type Cmd struct {
	List    listCmd    `cmd:"" help:"List dead letters, newest first."`
	Show    showCmd    `cmd:"" help:"Show all about the dead letters of one request."`
	Replay  replayCmd  `cmd:"" help:"Publish the jobs of dead letters again."`
	Discard discardCmd `cmd:"" help:"Remove dead letters for good."`
	Export  exportCmd  `cmd:"" help:"Write dead letters as JSON lines."`
}

// Reasons are the words that --reason takes.
func Reasons() string {
	words := make([]string, 0, len(passcode.Reasons()))
	for _, r := range passcode.Reasons() {
		words = append(words, string(r))
	}
	return strings.Join(words, ",")
}

// filterFlags are the flags that pick dead letters.
type filterFlags struct {
	ID        []string          `name:"id" placeholder:"REQUEST" sep:"none" help:"Of this request; seq-N where the job had no readable id. May be repeated."`
	Reason    []passcode.Reason `placeholder:"REASON" enum:"${reasons}" help:"With this reason: ${reasons}. May be repeated."`
	ErrorCode []string          `placeholder:"CODE" sep:"none" help:"With this error code. May be repeated."`
	Since     command.TimeFlag  `placeholder:"TIME" help:"Died at or after this time: RFC 3339, or how long ago, such as 2h."`
	Until     command.TimeFlag  `placeholder:"TIME" help:"Died before this time."`
}

// filter checks the flags and returns what they pick.
func (f filterFlags) filter(now time.Time) (deadletter.Filter, error) {
	for _, id := range f.ID {
		if !passcode.ValidRequestID(id) {
			return deadletter.Filter{}, command.Usagef("--id: a request id is 1 to %d of A-Z a-z 0-9 _ -", passcode.MaxRequestIDLen)
		}
	}
	filter := deadletter.Filter{
		IDs: f.ID, Reasons: f.Reason, ErrorCodes: f.ErrorCode, Since: f.Since.At(now), Until: f.Until.At(now),
	}
	if !filter.Since.IsZero() && !filter.Until.IsZero() && !filter.Since.Before(filter.Until) {
		return filter, command.Usagef("--since: must be before --until")
	}
	return filter, nil
}

// choiceFlags are the flags of commands that change what they pick, so that one
// has to say so to pick everything.
type choiceFlags struct {
	filterFlags
	All bool `help:"All dead letters."`
}

func (f choiceFlags) filter(now time.Time) (deadletter.Filter, error) {
	filter, err := f.filterFlags.filter(now)
	switch {
	case err != nil:
		return filter, err
	case filter.Empty() && !f.All:
		return filter, command.Usagef("say which dead letters: --id, --reason, --error-code, --since or --until, or --all")
	case !filter.Empty() && f.All:
		return filter, command.Usagef("--all: picks every dead letter, so no other filter may stand beside it")
	}
	return filter, nil
}

// session is what a command on dead letters works with.
type session struct {
	cfg     config.Config
	link    *app.Link
	letters *deadletter.Browser
	// filter picks dead letters, by the time that the command began.
	filter deadletter.Filter
	now    time.Time
}

// open checks what a command is to pick, connects and opens the dead-letter
// stream. The caller closes the connection.
func open(e *command.Env, picks func(now time.Time) (deadletter.Filter, error)) (*session, error) {
	now := time.Now()
	filter, err := picks(now)
	if err != nil {
		return nil, err
	}
	cfg, l, err := e.Connect()
	if err != nil {
		return nil, err
	}
	letters, err := deadletter.Browse(e.Stop, l.JS, cfg.DeadLetters.Stream, cfg.DeadLetters.Subject)
	if errors.Is(err, deadletter.ErrNoStream) {
		err = fmt.Errorf("%w: start a worker, or run \"worker provision\"", err)
	}
	if err != nil {
		l.NC.Close()
		return nil, err
	}
	return &session{cfg: cfg, link: l, letters: letters, filter: filter, now: now}, nil
}

// replayer returns what replays dead letters, and the records that it asks.
func (d *session) replayer(ctx context.Context, ttl time.Duration) (*deadletter.Replayer, *ledger.Ledger, error) {
	records, err := ledger.Open(ctx, d.link.JS, d.cfg.Results.Bucket)
	if err != nil {
		return nil, nil, fmt.Errorf("the requests' records: %w", err)
	}
	return &deadletter.Replayer{
		Browser: d.letters, Records: records,
		Stream: d.cfg.Jobs.Stream, Subject: d.cfg.Jobs.Subject,
		Life: deadletter.Life{TTL: ttl, PasscodeTTL: d.cfg.Worker.PasscodeTTL}, Now: time.Now,
	}, records, nil
}

// nonePicked says that there is nothing to do. Who names a request expects it to be
// there, so then it is a failure.
func (d *session) nonePicked(e *command.Env) error {
	show.Say(e.Stderr, "no dead letters%s", picked(d.filter))
	if len(d.filter.IDs) > 0 {
		return command.ErrSaid
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

func (d *session) close() { d.link.NC.Close() }
