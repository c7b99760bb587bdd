package dlq

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/deadletter"
	"github.com/passcode-worker/passcode-worker/internal/telemetry"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// showCmd is "worker dlq show".
type showCmd struct {
	ID     string `arg:"" name:"request" help:"The request id, or seq-N where the job had no readable one."`
	Reveal bool   `help:"Show the job itself, phone number and passcode in clear. Asks first; that it was done is logged."`
	Yes    bool   `help:"Don't ask."`
	JSON   bool   `name:"json" help:"One JSON object a line."`
}

// shownLetter is a dead letter with its job.
type shownLetter struct {
	letter
	// RequestNow is how the request stands, empty where there is no record of it.
	RequestNow passcode.Status   `json:"request_now,omitempty"`
	Replay     deadletter.Action `json:"replay"`
	Cause      string            `json:"replay_cause,omitempty"`
	Why        string            `json:"replay_why,omitempty"`
	// Asks: Aliyun is asked before the replay is sent.
	Asks bool `json:"replay_asks_first,omitempty"`
	jobView
}

// Run shows the dead letters of a request.
func (w *showCmd) Run(e *command.Env) error {
	d, err := open(e, filterFlags{ID: []string{w.ID}}.filter)
	if err != nil {
		return err
	}
	defer d.close()
	replayer, _, err := d.replayer(e.Stop, 0)
	if err != nil {
		return err
	}
	var found []shownLetter
	for s, err := range d.letters.NewestFirst(e.Stop, d.filter) {
		if err != nil {
			return command.Stopped(e.Stop, err)
		}
		plan, err := replayer.Plan(e.Stop, s)
		if err != nil {
			return err
		}
		one := shownLetter{letter: d.letter(s), RequestNow: plan.Stands, Replay: plan.Action, Cause: plan.Cause, Why: plan.Why, Asks: plan.Asks}
		one.jobView = viewJob(one.job, s, w.Reveal)
		found = append(found, one)
	}
	if len(found) == 0 {
		show.Say(e.Stderr, "no dead letter of request %s; \"worker request %s\" shows how it stands", w.ID, w.ID)
		return command.ErrSaid
	}
	if w.Reveal {
		if err := reveal(e, d.cfg, w.Yes, "the passcode of "+w.ID); err != nil {
			return err
		}
	}
	return w.print(e, found, d.now)
}

// reveal asks whether something confidential is to be shown, and logs that it
// was, and by whom.
func reveal(e *command.Env, cfg config.Config, yes bool, what string) error {
	if err := e.Confirm(yes, "Show "+what+" in clear?"); err != nil {
		return err
	}
	log, err := telemetry.NewLogger(e.Stderr, "info", cfg.Log.Format)
	if err != nil {
		return command.UsageError{Err: err}
	}
	log.Warn("passcodes revealed", "what", what, "by", command.Operator())
	return nil
}

func (w *showCmd) print(e *command.Env, found []shownLetter, now time.Time) error {
	if w.JSON {
		lines := show.JSONLines(e.Stdout)
		for _, one := range found {
			if err := lines.Encode(one); err != nil {
				return err
			}
		}
		return nil
	}
	for i, one := range found {
		if i > 0 {
			fmt.Fprintln(e.Stdout)
		}
		if _, err := fmt.Fprint(e.Stdout, one.page(now)); err != nil {
			return err
		}
	}
	return nil
}

// page is a dead letter for people.
func (l *shownLetter) page(now time.Time) string {
	var b strings.Builder
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%-12s %s\n", name, text)
		}
	}
	line("request", l.ID)
	line("reason", string(l.Reason)+": "+meaning(l.Reason))
	line("error", strings.TrimSpace(l.ErrorCode+"  "+l.ErrorMessage))
	line("corrupt", l.Corrupt)
	line("phone", l.Phone)
	line("usage type", l.UsageType)
	line("attempts", fmt.Sprintf("%d, after %s", l.Attempts, show.CountOf(l.Replays, "replay")))
	at := func(name string, t time.Time, more string) {
		if !t.IsZero() {
			line(name, show.Moment(t, now)+more)
		}
	}
	at("queued", l.QueuedAt, "")
	at("last attempt", l.AttemptedAt, "")
	at("died", l.DeadAt, ", on "+show.OrDash(l.Worker))
	at("expires", l.ExpiresAt, "")
	line("origin", fmt.Sprintf("%s %d on %s; dead letter %d", l.OriginStream, l.OriginSeq, l.Subject, l.Seq))
	line("trace", l.TraceParent)
	line("reply to", l.ReplyTo)
	line("client ip", l.ClientIP)
	line("params", strings.Join(l.Params, ", "))
	if len(l.Metadata) > 0 {
		text, err := json.Marshal(l.Metadata)
		if err == nil { // it came out of JSON
			line("metadata", string(text))
		}
	}
	line("job", l.jobText())
	line("request now", show.OrDash(string(l.RequestNow)))
	line("a replay", l.verdict())
	line("next", l.next())
	return b.String()
}

// jobText is the job itself where it is revealed, otherwise its size.
func (l *shownLetter) jobText() string {
	switch {
	case l.Body != "":
		return l.Body
	case len(l.Base64) > 0:
		return fmt.Sprintf("%q", l.Base64)
	case l.Truncated:
		return fmt.Sprintf("%d bytes, of which the dead letter has only the beginning", l.BodySize)
	default:
		return fmt.Sprintf("%d bytes; --reveal shows them", l.BodySize)
	}
}

func (l *shownLetter) verdict() string {
	switch {
	case l.Replay == deadletter.Replayed && l.Asks:
		return "would have Aliyun asked, and send it where Aliyun knows nothing of it"
	case l.Replay == deadletter.Replayed:
		return "would publish it again"
	case l.Replay == deadletter.Already:
		return "was made before: " + l.Why
	default:
		return "would be refused (" + l.Cause + "): " + l.Why
	}
}

// next is the command to go on with.
func (l *shownLetter) next() string {
	replay := "worker dlq replay --id " + l.ID
	switch {
	case l.Replay == deadletter.Refused && l.Cause == deadletter.CauseExpired:
		return replay + " --ttl 5m   (or: worker dlq discard --id " + l.ID + ")"
	case l.Replay == deadletter.Refused && (l.Cause == deadletter.CauseInProgress || l.Cause == deadletter.CauseQueued):
		return "worker request " + l.ID
	case l.Replay == deadletter.Refused:
		return "worker dlq discard --id " + l.ID
	case l.Reason == passcode.ReasonConfig:
		return "worker check, mend what it names, then: " + replay
	default:
		return replay
	}
}

// meaning is a reason in a few words.
func meaning(r passcode.Reason) string {
	switch r {
	case passcode.ReasonInvalid:
		return "the job breaks the rules for jobs"
	case passcode.ReasonConfig:
		return "template, signature or parameters are wrong"
	case passcode.ReasonExhausted:
		return "every attempt failed"
	case passcode.ReasonUnknown:
		return "it may have been sent, and nobody could tell"
	case passcode.ReasonPoison:
		return "it took its worker down, or the server gave it up"
	default:
		return "not a reason of this program"
	}
}
