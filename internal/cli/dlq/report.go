package dlq

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/deadletter"
)

const (
	// shownRefusals is how many dead letters that were not replayed are named
	// one by one; --json names all.
	shownRefusals = 20
	// progressEvery is how often a replay without a terminal says how far it is.
	progressEvery = 10 * time.Second
)

// replayReport tells of a replay: of each dead letter, how far it is, and what
// came of all.
type replayReport struct {
	e      *command.Env
	dryRun bool
	lines  *json.Encoder // nil without --json
	bar    *progressbar.ProgressBar

	expected, done, refused int
	took                    time.Duration
	said                    time.Time
	counts                  map[outcome]int
}

// outcome is a line of the summary.
type outcome struct {
	action deadletter.Action
	cause  string
}

func newReplayReport(e *command.Env, asJSON, dryRun bool) *replayReport {
	r := &replayReport{e: e, dryRun: dryRun, counts: map[outcome]int{}, said: time.Now()}
	if asJSON {
		r.lines = show.JSONLines(e.Stdout)
	}
	return r
}

// expect begins to show progress towards n.
func (r *replayReport) expect(n int) {
	r.expected = n
	if n > 1 && show.IsTerminal(r.e.Stderr) {
		r.bar = progressbar.NewOptions(n,
			progressbar.OptionSetWriter(r.e.Stderr), progressbar.OptionSetDescription("replaying"),
			progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("letters"),
			progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(true))
	}
}

// add tells of one dead letter.
func (r *replayReport) add(one replayStep) error {
	r.done++
	cause := one.Cause
	if one.Action == deadletter.Already {
		cause = string(one.stands) // what came of the replay that was cut off
	}
	r.counts[outcome{one.Action, cause}]++
	if one.Action == deadletter.Refused || one.Action == deadletter.Failed {
		r.refused++
	}
	var err error
	switch {
	case r.lines != nil:
		err = r.lines.Encode(one)
	case r.dryRun:
		err = r.line(one)
	case one.Action == deadletter.Refused && r.refused <= shownRefusals:
		r.clearBar()
		err = r.line(one)
	case one.Action == deadletter.Refused && r.refused == shownRefusals+1:
		r.clearBar()
		_, err = fmt.Fprintln(r.e.Stdout, "… and more; --json names each")
	}
	r.progress()
	return err
}

func (r *replayReport) line(one replayStep) error {
	verdict := string(one.Action)
	switch {
	case one.Action == deadletter.Refused:
		verdict = "refused: " + one.Cause
	case r.dryRun && one.Action == deadletter.Replayed:
		verdict = "would be replayed"
		one.Why = "it expires in " + show.Span(time.Until(one.ExpiresAt))
		if one.asks {
			one.Why += "; Aliyun is asked first"
		}
	case r.dryRun && one.Action == deadletter.Already:
		verdict = "would be removed"
	}
	_, err := fmt.Fprintf(r.e.Stdout, "%-26s  %-9s  %s (%s)\n", one.ID, one.Reason, verdict, one.Why)
	return err
}

// clearBar makes room for a line; the bar comes again below it.
func (r *replayReport) clearBar() {
	if r.bar != nil {
		_ = r.bar.Clear() // the terminal is all that could be amiss
	}
}

func (r *replayReport) progress() {
	if r.bar != nil {
		_ = r.bar.Add(1) // as above
		return
	}
	if now := time.Now(); !r.dryRun && now.Sub(r.said) >= progressEvery {
		r.said = now
		show.Say(r.e.Stderr, "%d of %d done", r.done, r.expected)
	}
}

// end sums up. It fails where something that was picked is still there.
func (r *replayReport) end() error {
	r.clearBar()
	out := r.e.Stdout
	if r.lines != nil {
		out = r.e.Stderr // standard output is for objects
	}
	outcomes := slices.SortedFunc(maps.Keys(r.counts), func(a, b outcome) int {
		return cmp.Or(slices.Index(actions, a.action)-slices.Index(actions, b.action), r.counts[b]-r.counts[a], strings.Compare(a.cause, b.cause))
	})
	for _, o := range outcomes {
		show.Say(out, "%s", r.sum(o))
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

// sum is the summary's line for one outcome.
func (r *replayReport) sum(o outcome) string {
	n := r.counts[o]
	switch o.action {
	case deadletter.Replayed:
		if r.dryRun {
			return fmt.Sprintf("would be replayed: %d", n)
		}
		text := fmt.Sprintf("replayed: %d", n)
		if r.took >= time.Second {
			text += fmt.Sprintf(" in %s (%.0f/s)", r.took.Round(100*time.Millisecond), float64(n)/r.took.Seconds())
		}
		return text
	case deadletter.Already:
		return fmt.Sprintf("replayed before (%s), removed now: %d", o.cause, n)
	case deadletter.Gone:
		return fmt.Sprintf("gone meanwhile: %d", n)
	case deadletter.Failed:
		return fmt.Sprintf("failed: %d", n)
	default:
		return fmt.Sprintf("refused, %s: %d%s", o.cause, n, mend(o.cause))
	}
}

// mend is the next right thing to do about a refusal.
func mend(cause string) string {
	switch cause {
	case deadletter.CauseExpired:
		return " (--ttl 5m gives them a new life)"
	case deadletter.CauseInvalid, deadletter.CauseTruncated, deadletter.CauseCorrupt:
		return " (can't be replayed; \"worker dlq discard\" removes them)"
	case deadletter.CauseInProgress, deadletter.CauseQueued:
		return " (see what becomes of them first)"
	default:
		return " (nothing to do; \"worker dlq discard\" removes them)"
	}
}
