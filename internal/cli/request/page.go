package request

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// showRequest prints a page for people: how the request stands, what next has to
// say of it, and the way it went, oldest first.
func showRequest(w io.Writer, way []passcode.Result, now time.Time, next []string) {
	rec := way[len(way)-1]
	line := func(name, format string, args ...any) {
		show.Say(w, "%-14s %s", name, show.Printable(fmt.Sprintf(format, args...)))
	}
	line("request", "%s", rec.RequestID)
	state := "not final"
	if rec.Final {
		state = "final"
	}
	line("status", "%s (%s)", rec.Status, state)
	line("phone", "%s", show.OrDash(rec.Phone))
	line("usage type", "%s", show.OrDash(rec.UsageType))
	line("attempts", "%d", rec.Attempts)
	if rec.Interruptions > 0 {
		line("interruptions", "%d (workers that went away while they held it)", rec.Interruptions)
	}
	if rec.Replays > 0 {
		line("replays", "%d", rec.Replays)
	}
	if rec.BizID != "" {
		line("biz_id", "%s", rec.BizID)
	}
	if rec.Recovered {
		line("recovered", "a look-up settled a doubtful send")
	}
	if rec.Error != nil {
		line("error", "%s (class %s)", rec.Error.Code, rec.Error.Class)
		for _, text := range show.Wrapped(rec.Error.Message, show.Width-15) {
			line("", "%s", text)
		}
	}
	if rec.RetryAfterSeconds > 0 {
		line("retry after", "%s", show.Roughly(time.Duration(rec.RetryAfterSeconds)*time.Second))
	}
	for _, t := range []struct {
		name string
		at   time.Time
	}{
		{"queued", rec.QueuedAt}, {"updated", rec.UpdatedAt}, {"next attempt", rec.NextAttemptAt},
		{"delivered", rec.DeliveredAt}, {"expires", rec.ExpiresAt},
	} {
		if !t.at.IsZero() {
			line(t.name, "%s", show.Moment(t.at, now))
		}
	}
	line("job", "stream sequence %d", rec.StreamSeq)
	line("worker", "%s", rec.Worker)
	show.Say(w, "")
	for _, paragraph := range next {
		for _, text := range show.Wrapped(paragraph, show.Width) {
			show.Say(w, "%s", text)
		}
	}
	showWay(w, way)
}

// showWay prints one line for each state. The first gap is the time that the job
// waited in the stream.
func showWay(w io.Writer, way []passcode.Result) {
	show.Say(w, "\n%-23s %8s  %-13s %7s  %s", "TIME (UTC)", "GAP", "STATUS", "ATTEMPT", "WHAT, BY WHOM")
	cut := len(way) >= broker.ResultHistory
	if cut {
		show.Say(w, "(what came before is not kept)")
	}
	before := way[0].QueuedAt
	for i, rec := range way {
		gap := "+" + show.Roughly(max(rec.UpdatedAt.Sub(before), 0))
		if i == 0 && cut {
			gap = ""
		}
		before = rec.UpdatedAt
		show.Say(w, "%-23s %8s  %-13s %7d  %s", rec.UpdatedAt.UTC().Format("2006-01-02 15:04:05.000"), gap, rec.Status, rec.Attempts,
			show.Printable(strings.Join(append(stateWords(rec), rec.Worker), ", ")))
	}
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
		words = append(words, string(rec.Error.Class)+" "+rec.Error.Code)
	}
	if !rec.NextAttemptAt.IsZero() {
		words = append(words, "again in "+show.Roughly(max(rec.NextAttemptAt.Sub(rec.UpdatedAt), 0)))
	}
	return words
}
