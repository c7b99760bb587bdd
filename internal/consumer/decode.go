package consumer

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// decode reads the job and checks the rules that need settings.
func (t *task) decode(context.Context, decision) (event, error) {
	t.replays = replaysOf(t.Header(domain.HeaderReplay))
	t.attempted = attemptedOf(t.replays, t.Header(domain.HeaderAttemptedAt), t.c.Now())

	job, err := passcode.Decode(t.Body())
	problems := problemsOf(err)
	if !job.Phone.IsZero() {
		t.phone, err = t.c.ParsePhone(job.Phone)
		problems = append(problems, problemsOf(err)...)
	}
	if job.ReplyTo != "" && !t.c.MayReplyTo(job.ReplyTo) {
		problems = append(problems, passcode.Problem{Field: "reply_to", Rule: "must match one of results.reply_subjects"})
		job.ReplyTo = "" // nothing may be published there
	}
	t.job = job
	t.rec = passcode.Result{ // before anything has happened
		RequestID: job.RequestID, Phone: t.phone.Masked(), UsageType: job.UsageType, Metadata: job.Metadata,
		QueuedAt: t.origin.QueuedAt.UTC(), UpdatedAt: t.c.Now(), ExpiresAt: job.ExpiresAt,
		StreamSeq: t.origin.Seq, Replays: t.replays, Worker: t.c.Worker,
		AttemptedAt: t.attempted, // it stays if a replay makes no attempt of its own
	}
	if t.rec.ExpiresAt.IsZero() {
		t.rec.ExpiresAt = t.rec.QueuedAt.Add(t.c.Policy.PasscodeTTL)
	}
	switch {
	case len(problems) > 0:
		return refused{&passcode.InvalidError{Problems: problems}}, nil
	case t.why != nil:
		return undelivered{t.why}, nil
	default:
		return decoded{}, nil
	}
}

// attemptedOf reads the header of a replayed job that had an attempt. Implausible times are ignored.
func attemptedOf(replays int, header string, now time.Time) time.Time {
	at, err := time.Parse(time.RFC3339Nano, header)
	if err != nil || replays == 0 || at.UTC().Year() < 2000 {
		return time.Time{}
	}
	return slices.MinFunc([]time.Time{at.UTC(), now}, time.Time.Compare)
}

// replaysOf reads the header of a replayed job. Producers can write it too, so numbers that no replay writes
// are ignored.
func replaysOf(header string) int {
	n, err := strconv.Atoi(header)
	if err != nil || n < 0 || n > domain.MaxReplays {
		return 0
	}
	return n
}

func problemsOf(err error) []passcode.Problem {
	var invalid *passcode.InvalidError
	switch {
	case errors.As(err, &invalid):
		return invalid.Problems
	case err != nil:
		return []passcode.Problem{{Field: "job", Rule: "can't be read"}}
	}
	return nil
}

// traceID returns the trace id of a W3C traceparent header of version 00, for logs.
func traceID(traceParent string) string {
	parts := strings.Split(traceParent, "-")
	if len(parts) != 4 || parts[0] != "00" || len(parts[1]) != 32 || strings.Trim(parts[1], "0123456789abcdef") != "" {
		return ""
	}
	return parts[1]
}
