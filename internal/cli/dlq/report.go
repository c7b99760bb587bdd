package dlq

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/deadletter"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

const (
	shownRefusals = 20                     // how many are named one by one; --json names all
	lookEvery     = 200 * time.Millisecond // at the record of a request that is not final
)

// replayReport tells of each dead letter, how far the replay is, and what came of all.
type replayReport struct {
	*command.Env
	cmd           *replayCmd
	lines         *json.Encoder                    // nil without --json
	say           func(format string, args ...any) // prose: with --json to standard error
	progress      *show.Progress
	done, refused int
	counts        map[outcome]int
	replayed      []deadletter.Step
}

type outcome struct {
	action deadletter.Action
	cause  string
}

func newReplayReport(e *command.Env, cmd *replayCmd, all int) *replayReport {
	r := &replayReport{Env: e, cmd: cmd, say: e.Print, progress: &show.Progress{}, counts: map[outcome]int{}}
	if cmd.JSON {
		r.lines, r.say = show.JSONLines(e.Stdout), e.Note
	}
	if !cmd.DryRun {
		r.progress = show.NewProgress(e.Stderr, all)
	}
	return r
}

func (r *replayReport) add(one deadletter.Step) error {
	r.done++
	cause := one.Cause
	if one.Action == deadletter.Already {
		cause = string(one.Stands) // what came of the replay that was cut off
	}
	r.counts[outcome{one.Action, cause}]++
	if one.Action == deadletter.Refused || one.Action == deadletter.Failed {
		r.refused++
	}
	if one.Action == deadletter.Replayed && r.cmd.Follow {
		one.Body = nil // there may be a million of them
		r.replayed = append(r.replayed, one)
	}
	r.progress.Add()
	switch {
	case r.lines != nil:
		return r.lines.Encode(one)
	case r.cmd.DryRun:
		r.line(one)
	case one.Action == deadletter.Refused && r.refused <= shownRefusals:
		r.progress.Clear()
		r.line(one)
	case one.Action == deadletter.Refused && r.refused == shownRefusals+1:
		r.progress.Clear()
		r.Print("… and more; --json names each")
	}
	return nil
}

func (r *replayReport) line(one deadletter.Step) {
	what := string(one.Action)
	switch {
	case one.Action == deadletter.Refused:
		what = "refused: " + one.Cause
	case r.cmd.DryRun && one.Action == deadletter.Replayed:
		what = "would be replayed"
		one.Why = "it expires in " + show.Span(time.Until(one.ExpiresAt))
		if one.Asks {
			one.Why += "; Aliyun is asked first"
		}
	case r.cmd.DryRun && one.Action == deadletter.Already:
		what = "would be removed"
	}
	r.Print("%-26s  %-9s  %s (%s)", one.ID, one.Reason, what, one.Why)
}

// end sums up. It fails where something that was picked is still there.
func (r *replayReport) end(took time.Duration) error {
	r.progress.Clear()
	outcomes := slices.SortedFunc(maps.Keys(r.counts), func(a, b outcome) int {
		return cmp.Or(slices.Index(actions, a.action)-slices.Index(actions, b.action), r.counts[b]-r.counts[a], strings.Compare(a.cause, b.cause))
	})
	for _, o := range outcomes {
		text, more := string(o.action), ""
		switch {
		case o.action == deadletter.Replayed && r.cmd.DryRun:
			text = "would be replayed"
		case o.action == deadletter.Replayed && took >= time.Second:
			more = fmt.Sprintf(" in %s (%.0f/s)", took.Round(100*time.Millisecond), float64(r.counts[o])/took.Seconds())
		case o.action == deadletter.Already:
			text = "replayed before (" + o.cause + "), removed now"
		case o.action == deadletter.Gone:
			text = "gone meanwhile"
		case o.action == deadletter.Refused:
			text, more = "refused, "+o.cause, advice(o.cause)
		}
		r.say("%s: %d%s", text, r.counts[o], more)
	}
	if r.refused > 0 && !r.cmd.DryRun {
		return command.ErrSaid
	}
	return nil
}

// follow waits until the replayed requests are final, and sums up what became of
// them. It fails where one was not sent.
func (r *replayReport) follow(records deadletter.Records, patience time.Duration) error {
	if len(r.replayed) > 0 {
		r.Note("waiting for the results of %s, at most %s", show.CountOf(len(r.replayed), "request"), domain.FormatDuration(patience))
	}
	waiting, cancel := context.WithTimeout(r.Stop, patience)
	defer cancel()
	// A last look is taken at each when the wait is over.
	looking, cancel := context.WithTimeout(r.Stop, patience+command.Patience)
	defer cancel()
	became, final, sent := map[string]int{}, 0, 0
	for one := range inOrder(looking, maxReplayers, r.replayed, func(one deadletter.Step) passcode.Result {
		for {
			record, _, err := records.Get(looking, one.Request)
			if err == nil && record.Final && record.Replays >= one.Number {
				return record
			}
			select {
			case <-waiting.Done():
				return passcode.Result{}
			case <-time.After(lookEvery):
			}
		}
	}) {
		if !one.Final {
			continue
		}
		final++
		if one.Status == passcode.StatusSent || one.Status == passcode.StatusDelivered {
			sent++
		}
		word := string(one.Status)
		if one.Error != nil {
			word += " (" + one.Error.Code + ")"
		}
		became[word]++
		if r.lines != nil {
			_ = r.lines.Encode(one) // a pipe that is gone ends the process
		}
	}
	for _, word := range slices.Sorted(maps.Keys(became)) {
		r.say("became %s: %d", word, became[word])
	}
	if n := len(r.replayed) - final; n > 0 {
		r.say("not final yet: %d; \"worker request ID\" shows how one stands", n)
	}
	if sent < len(r.replayed) {
		return command.ErrSaid
	}
	return nil
}

// actions puts what was done before what was not.
var actions = []deadletter.Action{
	deadletter.Replayed, deadletter.Already, deadletter.Gone, deadletter.Refused, deadletter.Failed,
}

// advice is the next right thing to do about a refusal.
func advice(cause string) string {
	switch cause {
	case deadletter.CauseExpired:
		return " (--ttl 5m lets them live longer)"
	case deadletter.CauseInvalid, deadletter.CauseTruncated, deadletter.CauseCorrupt:
		return " (can't be replayed; \"worker dlq discard\" removes them)"
	case deadletter.CauseInProgress, deadletter.CauseQueued:
		return " (see what becomes of them first)"
	default:
		return " (nothing to do; \"worker dlq discard\" removes them)"
	}
}
