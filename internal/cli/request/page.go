package request

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// showRequest prints a page for people. The history is oldest first.
func showRequest(w io.Writer, history []passcode.Result, now time.Time, next []string) error {
	rec := history[len(history)-1]
	page := show.Page{W: w, Names: 14, Now: now}
	page.Line("request", "%s", rec.RequestID)
	state := "not final"
	if rec.Final {
		state = "final"
	}
	page.Line("status", "%s (%s)", rec.Status, state)
	page.Line("phone", "%s", cmp.Or(rec.Phone, "-"))
	page.Line("usage type", "%s", cmp.Or(rec.UsageType, "-"))
	page.Line("attempts", "%d", rec.Attempts)
	page.If(rec.Interruptions > 0, "interruptions", "%d (workers that went away while they held it)", rec.Interruptions)
	page.If(rec.Replays > 0, "replays", "%d", rec.Replays)
	page.Text("biz_id", rec.BizID)
	page.If(rec.Recovered, "recovered", "a look-up settled a doubtful send")
	if rec.Error != nil {
		page.Line("error", "%s (class %s)", rec.Error.Code, rec.Error.Class)
		page.Wrapped(show.Glossed(rec.Error.Message))
	}
	page.If(rec.RetryAfterSeconds > 0, "retry after", "%s", show.Roughly(time.Duration(rec.RetryAfterSeconds)*time.Second))
	page.Time("queued", rec.QueuedAt)
	page.Time("updated", rec.UpdatedAt)
	page.Time("next attempt", rec.NextAttemptAt)
	page.Time("delivered", rec.DeliveredAt)
	page.Time("expires", rec.ExpiresAt)
	page.Line("job", "stream sequence %d", rec.StreamSeq)
	page.Line("worker", "%s", rec.Worker)
	show.Line(w, "")
	for _, paragraph := range next {
		for _, line := range show.Wrapped(paragraph, show.Width) {
			show.Line(w, "%s", line)
		}
	}
	show.Line(w, "")
	return showHistory(w, history)
}

// showHistory prints each state. The first gap is the time in the stream.
func showHistory(w io.Writer, history []passcode.Result) error {
	cut := len(history) >= broker.ResultHistory
	table := show.NewListing(w, false, "TIME (UTC)", "GAP", "STATUS", "ATTEMPT", "WHAT, BY WHOM")
	before := history[0].QueuedAt
	for i, rec := range history {
		gap := "+" + show.Roughly(max(rec.UpdatedAt.Sub(before), 0))
		if i == 0 && cut {
			gap = ""
		}
		before = rec.UpdatedAt
		table.Row(rec.UpdatedAt.UTC().Format("2006-01-02 15:04:05.000"), gap, rec.Status, rec.Attempts,
			strings.Join(append(stateWords(rec), rec.Worker), ", "))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if cut {
		show.Line(w, "(what came before is not kept)")
	}
	return nil
}

// stateWords are what a state says besides its name.
func stateWords(rec passcode.Result) []string {
	var words []string
	switch {
	case !rec.LookupBeganAt.IsZero():
		return []string{"asking Aliyun"}
	case rec.Recovered:
		words = append(words, "found by look-up")
	case rec.BizID != "":
		words = append(words, "accepted")
	}
	if rec.Error != nil {
		words = append(words, fmt.Sprintf("%s %s", rec.Error.Class, rec.Error.Code))
	}
	if !rec.NextAttemptAt.IsZero() {
		words = append(words, "again in "+show.Roughly(max(rec.NextAttemptAt.Sub(rec.UpdatedAt), 0)))
	}
	return words
}

// nextSteps says what there is to do about a request, where its status alone tells.
var nextSteps = map[passcode.Status]string{
	passcode.StatusSending:     "A call to Aliyun may be in progress. Where its worker is gone, another takes the job up when the lease (worker.ack_wait) runs out. Look again in a moment.",
	passcode.StatusRetrying:    "Another attempt follows. Look again in a moment.",
	passcode.StatusInDoubt:     "Aliyun is being asked what became of the last attempt. Look again in a moment.",
	passcode.StatusSent:        "Aliyun accepted it; nothing is left to do. Its console tells by biz_id or phone what the carrier did.",
	passcode.StatusDelivered:   "The carrier delivered it; nothing is left to do.",
	passcode.StatusUndelivered: "The carrier could not deliver it. The user may ask for a new passcode, or check the number.",
	passcode.StatusRateLimited: "Nothing was sent. \"worker limits show PHONE\" shows what counts against the phone, \"worker limits reset PHONE\" forgets it.",
	passcode.StatusExpired:     "Nothing was sent in time, and the passcode is worth nothing any more: the user asks for a new one. The gaps below show where the time went.",
	passcode.StatusRejected:    "It can't be sent, now or later: the number can't receive it, or the producer made a mistake.",
}

// nextCommand says what there is to do about a request, and with which command. dead
// says that it has a dead letter.
func nextCommand(rec passcode.Result, dead bool, now time.Time) string {
	class := passcode.ClassTransient
	if rec.Error != nil {
		class = rec.Error.Class
	}
	step, enough := nextSteps[rec.Status]
	switch {
	case rec.Status == passcode.StatusRetrying && class == passcode.ClassAccount:
		return "Aliyun refuses the whole account. Once that is in order, \"worker resume\" has it tried at once."
	case rec.Status == passcode.StatusRejected && dead:
		return step + fmt.Sprintf(" \"worker dlq show %s\" shows the job.", rec.RequestID)
	case enough:
		return step
	case !dead:
		return "Its dead letter is gone: replayed, discarded, or older than dead_letters.retention. The user has to ask for a new passcode."
	}
	ttl, late := "", ""
	if !now.Before(rec.ExpiresAt) {
		ttl = " --ttl 10m"
		late = " The passcode has expired, so that makes sense only where the user still waits for it."
	}
	replay := fmt.Sprintf("\"worker dlq replay --id %s%s\"", rec.RequestID, ttl)
	text := fmt.Sprintf("It is in the dead-letter stream: \"worker dlq show %s\" shows it. ", rec.RequestID)
	switch {
	case class == passcode.ClassConfig:
		text += "Fix the template, signature or parameters, then " + replay + " sends it."
	case class == passcode.ClassPoison || rec.Status == passcode.StatusUnknown:
		text += "It may have been sent: " + replay + " asks Aliyun first, and sends only what it doesn't find."
	default:
		text += replay + " tries again."
	}
	return text + late
}
