package dlq

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/deadletter"
	"github.com/passcode-worker/passcode-worker/internal/telemetry"
	"github.com/passcode-worker/passcode-worker/passcode"
)

type showCmd struct {
	ID     string `arg:"" name:"request" help:"The request id, or seq-N where the job had no readable one."`
	Reveal bool   `help:"Show the job itself, phone number and passcode in clear. Asks first; that it was done is logged."`
	Yes    bool   `help:"Don't ask."`
	JSON   bool   `name:"json" help:"One JSON object a line."`
}

func (c *showCmd) Run(e *command.Env) error {
	s, err := open(e, filterFlags{ID: []string{c.ID}}.filter)
	if err != nil {
		return err
	}
	replayer, err := s.replayer(0, true)
	if err != nil {
		return err
	}
	var found []letter
	for stored, err := range s.letters.NewestFirst(e.Stop, s.filter) {
		if err != nil {
			return command.Stopped(e.Stop, err)
		}
		plan, err := replayer.Plan(e.Stop, stored)
		if err != nil {
			return err
		}
		one := s.whole(stored, c.Reveal)
		one.RequestNow, one.Replay, one.Cause, one.Why, one.Asks = plan.Stands, plan.Action, plan.Cause, plan.Why, plan.Asks
		found = append(found, one)
	}
	if len(found) == 0 {
		e.Note("no dead letter of request %s; \"worker request %s\" shows how it stands", c.ID, c.ID)
		return command.ErrSaid
	}
	if c.Reveal {
		if err := s.reveal(c.Yes, "the passcode of "+c.ID); err != nil {
			return err
		}
	}
	list := show.NewListing(e.Stdout, true)
	for i, one := range found {
		switch {
		case c.JSON:
			list.Add(one)
			continue
		case i > 0:
			e.Print("")
		}
		one.page(e.Stdout, s.now)
	}
	return list.Flush()
}

// reveal asks before something confidential is shown, and logs who did so.
func (s *session) reveal(yes bool, what string) error {
	if err := s.Confirm(yes, "Show "+what+" in clear?"); err != nil {
		return err
	}
	log := telemetry.NewLogger(s.Stderr, "info", s.Cfg.Log.Format)
	log.Warn("passcodes revealed", "what", what, "by", command.Operator())
	return nil
}

func (l letter) page(w io.Writer, now time.Time) {
	page := show.Page{W: w, Names: 12, Now: now}
	page.Line("request", "%s", l.ID)
	page.Line("reason", "%s: %s", l.Reason, cmp.Or(meanings[l.Reason], "not a reason of this program"))
	page.Text("error", strings.TrimSpace(l.ErrorCode+"  "+show.Glossed(l.ErrorMessage)))
	page.Text("corrupt", l.Corrupt)
	page.Text("phone", l.Phone)
	page.Text("usage type", l.UsageType)
	page.Line("attempts", "%d, after %s", l.Attempts, show.CountOf(l.Replays, "replay"))
	page.Time("queued", l.QueuedAt)
	page.Time("last attempt", l.AttemptedAt)
	page.Line("died", "%s, on %s", show.Moment(l.DeadAt, now), cmp.Or(l.Worker, "-"))
	page.Time("expires", l.ExpiresAt)
	page.Line("origin", "%s %d on %s; dead letter %d", l.OriginStream, l.OriginSeq, l.Subject, l.Seq)
	page.Text("trace", l.TraceParent)
	page.Text("reply to", l.ReplyTo)
	page.Text("client ip", l.ClientIP)
	page.Text("params", strings.Join(l.Params, ", "))
	if len(l.Metadata) > 0 {
		if text, err := json.Marshal(l.Metadata); err == nil { // it came out of JSON
			page.Line("metadata", "%s", text)
		}
	}
	page.Line("job", "%s", l.jobText())
	page.Line("request now", "%s", cmp.Or(string(l.RequestNow), "-"))
	page.Line("a replay", "%s", l.replayText())
	page.Line("next", "%s", l.next())
}

func (l letter) jobText() string {
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

func (l letter) replayText() string {
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

func (l letter) next() string {
	replay := "worker dlq replay --id " + l.ID
	switch {
	case l.Replay == deadletter.Refused && l.Cause == deadletter.CauseExpired:
		return replay + " --ttl 5m   (or: worker dlq discard --id " + l.ID + ")"
	case l.Replay == deadletter.Refused && (l.Cause == deadletter.CauseInProgress || l.Cause == deadletter.CauseQueued):
		return "worker request " + l.ID
	case l.Replay == deadletter.Refused:
		return "worker dlq discard --id " + l.ID
	case l.Reason == passcode.ReasonConfig:
		return "worker check, fix what it names, then: " + replay
	default:
		return replay
	}
}

var meanings = map[passcode.Reason]string{
	passcode.ReasonInvalid:   "the job breaks the rules for jobs",
	passcode.ReasonConfig:    "template, signature or parameters are wrong",
	passcode.ReasonExhausted: "every attempt failed",
	passcode.ReasonUnknown:   "it may have been sent, and nobody could tell",
	passcode.ReasonPoison:    "it took its worker down, or the server gave it up",
}
