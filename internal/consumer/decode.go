package consumer

import (
	"errors"
	"strconv"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// decode reads the job and checks the rules that need settings.
func (c *Consumer) decode(t *task) (passcode.Job, *passcode.InvalidError) {
	t.replays = replaysOf(t.Header(domain.HeaderReplay))
	t.attempted = c.attemptedOf(t)

	job, err := passcode.Decode(t.Body())
	var invalid *passcode.InvalidError
	if err != nil && !errors.As(err, &invalid) {
		invalid = passcode.Invalid("job", "can't be read")
	}
	var problems []passcode.Problem
	if invalid != nil {
		problems = invalid.Problems
	}
	if !job.Phone.IsZero() {
		phone, err := c.numbers.Parse(job.Phone)
		if err != nil {
			problems = append(problems, problemsOf(err, "phone")...)
		}
		t.phone = phone
	}
	if job.ReplyTo != "" && !matchesAny(c.replySubjects, job.ReplyTo) {
		problems = append(problems, passcode.Problem{
			Field: "reply_to",
			Rule:  "must match one of results.reply_subjects",
		})
		job.ReplyTo = "" // nothing may be published there
	}
	if len(problems) > 0 {
		return job, &passcode.InvalidError{Problems: problems}
	}
	return job, nil
}

// attemptedOf reads the header of a replayed job that had an attempt. What no clock
// of ours can have said is none, as below.
func (c *Consumer) attemptedOf(t *task) time.Time {
	at, err := time.Parse(time.RFC3339Nano, t.Header(domain.HeaderAttemptedAt))
	if err != nil || t.replays == 0 || at.UTC().Year() < 2000 {
		return time.Time{}
	}
	return earlier(at.UTC(), c.now())
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// replaysOf reads the header of a replayed job. Producers can write headers too:
// what no replay would write is none.
func replaysOf(header string) int {
	n, err := strconv.Atoi(header)
	if err != nil || n < 0 || n > domain.MaxReplays {
		return 0
	}
	return n
}

func problemsOf(err error, field string) []passcode.Problem {
	var invalid *passcode.InvalidError
	if errors.As(err, &invalid) {
		return invalid.Problems
	}
	return []passcode.Problem{{Field: field, Rule: "can't be read"}}
}

// newRecord is the request's record before anything has happened.
func (c *Consumer) newRecord(t *task) passcode.Result {
	rec := passcode.Result{
		RequestID: t.job.RequestID,
		Phone:     t.phone.Masked(),
		UsageType: t.job.UsageType,
		Replays:   t.replays,
		Metadata:  t.job.Metadata,
		QueuedAt:  t.origin.QueuedAt.UTC(),
		UpdatedAt: c.now(),
		ExpiresAt: t.job.ExpiresAt,
		StreamSeq: t.origin.Seq,
		Worker:    c.worker,
		// Of a replay that comes to no attempt of its own, it stays.
		AttemptedAt: t.attempted,
	}
	if rec.ExpiresAt.IsZero() {
		rec.ExpiresAt = rec.QueuedAt.Add(c.policy.PasscodeTTL)
	}
	if rec.Metadata == nil {
		rec.Metadata = map[string]string{}
	}
	return rec
}
