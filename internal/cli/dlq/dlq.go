// Package dlq has the commands on dead letters.
package dlq

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
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

type filterFlags struct {
	ID        []string          `name:"id" placeholder:"REQUEST" sep:"none" help:"Of this request; seq-N where the job had no readable id. May be repeated."`
	Reason    []passcode.Reason `placeholder:"REASON" enum:"${reasons}" help:"With this reason: ${reasons}. May be repeated."`
	ErrorCode []string          `placeholder:"CODE" sep:"none" help:"With this error code. May be repeated."`
	Since     command.TimeFlag  `placeholder:"TIME" help:"Died at or after this time: RFC 3339, or how long ago, such as 2h."`
	Until     command.TimeFlag  `placeholder:"TIME" help:"Died before this time."`
}

func (f filterFlags) filter() (deadletter.Filter, error) {
	for _, id := range f.ID {
		if !passcode.ValidRequestID(id) {
			return deadletter.Filter{}, command.Usagef("--id: a request id is 1 to %d of A-Z a-z 0-9 _ -", passcode.MaxRequestIDLen)
		}
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until.Time) {
		return deadletter.Filter{}, command.Usagef("--since: must be before --until")
	}
	return deadletter.Filter{
		IDs: f.ID, Reasons: f.Reason, ErrorCodes: f.ErrorCode, Since: f.Since.Time, Until: f.Until.Time,
	}, nil
}

// choiceFlags are for commands that change what they pick: all takes a flag of its own.
type choiceFlags struct {
	filterFlags
	All bool `help:"All dead letters."`
}

func (f choiceFlags) filter() (deadletter.Filter, error) {
	filter, err := f.filterFlags.filter()
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

type session struct {
	*command.Env
	letters *deadletter.Browser
	filter  deadletter.Filter
	now     time.Time
}

// open checks what a command is to pick, connects and opens the dead-letter stream.
func open(e *command.Env, picks func() (deadletter.Filter, error)) (*session, error) {
	filter, err := picks()
	if err != nil {
		return nil, err
	}
	if err := e.Connect(); err != nil {
		return nil, err
	}
	letters, err := deadletter.Browse(e.Stop, e.JS, e.Cfg.DeadLetters.Stream, e.Cfg.DeadLetters.Subject)
	if errors.Is(err, deadletter.ErrNoStream) {
		err = fmt.Errorf("%w: start a worker, or run \"worker provision\"", err)
	}
	return &session{Env: e, letters: letters, filter: filter, now: time.Now()}, err
}

func (s *session) replayer(ttl time.Duration, dryRun bool) (*deadletter.Replayer, error) {
	records, err := ledger.Open(s.Stop, s.JS, s.Cfg.Results.Bucket)
	if err != nil {
		return nil, fmt.Errorf("the requests' records: %w", err)
	}
	return &deadletter.Replayer{
		Browser: s.letters, Records: records,
		Stream: s.Cfg.Jobs.Stream, Subject: s.Cfg.Jobs.Subject,
		Life: deadletter.Life{TTL: ttl, PasscodeTTL: s.Cfg.Worker.PasscodeTTL}, DryRun: dryRun, Now: time.Now,
	}, nil
}

// sequences returns where the picked dead letters stand, oldest first: eight bytes each, so that a million fit into
// memory. Where there is none it says so, and fails if a request was named.
func (s *session) sequences() (all []uint64, byReason map[passcode.Reason]int, err error) {
	byReason = map[passcode.Reason]int{}
	for letter, err := range s.letters.OldestFirst(s.Stop, s.filter) {
		if err != nil {
			return nil, nil, command.Stopped(s.Stop, err)
		}
		all = append(all, letter.Seq)
		byReason[letter.Reason]++
	}
	if len(all) == 0 {
		s.Note("no dead letters%s", s.picked())
		if len(s.filter.IDs) > 0 {
			err = command.ErrSaid
		}
	}
	return all, byReason, err
}

// picked says that filters left something out.
func (s *session) picked() string {
	if s.filter.Empty() {
		return ""
	}
	return " that the filters pick"
}
