package dlq

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/deadletter"
)

// shownRefusals is how many refusals are named one by one; --json names all.
const shownRefusals = 20

// replayReport tells of each dead letter, how far the replay is, and what came of all.
type replayReport struct {
	*command.Env
	dryRun        bool
	lines         *json.Encoder                    // nil without --json
	say           func(format string, args ...any) // prose: with --json to standard error
	progress      *show.Progress
	done, refused int
	counts        map[outcome]int
}

// outcome is a line of the summary.
type outcome struct {
	action deadletter.Action
	cause  string
}

func newReplayReport(e *command.Env, cmd *replayCmd, all int) *replayReport {
	r := &replayReport{Env: e, dryRun: cmd.DryRun, say: e.Print, progress: &show.Progress{}, counts: map[outcome]int{}}
	if cmd.JSON {
		r.lines, r.say = show.JSONLines(e.Stdout), e.Note
	}
	if !cmd.DryRun {
		r.progress = show.NewProgress(e.Stderr, all)
	}
	return r
}

func (r *replayReport) add(one replayStep) error {
	r.done++
	cause := one.Cause
	if one.Action == deadletter.Already {
		cause = string(one.Stands) // what came of the replay that was cut off
	}
	r.counts[outcome{one.Action, cause}]++
	if one.Action == deadletter.Refused || one.Action == deadletter.Failed {
		r.refused++
	}
	r.progress.Add()
	switch {
	case r.lines != nil:
		return r.lines.Encode(one)
	case r.dryRun:
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

func (r *replayReport) line(one replayStep) {
	what := string(one.Action)
	switch {
	case one.Action == deadletter.Refused:
		what = "refused: " + one.Cause
	case r.dryRun && one.Action == deadletter.Replayed:
		what = "would be replayed"
		one.Why = "it expires in " + show.Span(time.Until(one.ExpiresAt))
		if one.Asks {
			one.Why += "; Aliyun is asked first"
		}
	case r.dryRun && one.Action == deadletter.Already:
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
		case o.action == deadletter.Replayed && r.dryRun:
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
	if r.refused > 0 && !r.dryRun {
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
