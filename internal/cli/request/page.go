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
		page.Wrapped("", show.Glossed(rec.Error.Message))
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
