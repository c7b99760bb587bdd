package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/jobs"
	"github.com/passcode-worker/passcode-worker/passcode"
)

type sendCmd struct {
	Phone     string        `required:"" help:"The phone number, E.164 or national digits."`
	Code      string        `required:"" help:"The passcode: 4 to 6 letters or digits."`
	UsageType string        `help:"Picks the template." default:"Generic"`
	RequestID string        `name:"request-id" help:"The deduplication key; a new one where left out."`
	TTL       time.Duration `name:"ttl" help:"How long the passcode is worth sending." default:"10m"`
	Wait      time.Duration `help:"How long to wait for the final result." default:"30s"`
}

// Run succeeds only where the message was sent.
func (s *sendCmd) Run(e *command.Env) error {
	job, err := s.job()
	if err != nil {
		return command.Usagef("worker send: %w", err)
	}
	if err := e.Connect(); err != nil {
		return err
	}

	ctx, cancel := context.WithTimeoutCause(e.Stop, s.Wait, errors.New("no final result in time"))
	defer cancel()
	result, err := s.await(ctx, e, job)
	if err != nil {
		return err
	}
	out := show.JSONLines(e.Stdout)
	out.SetIndent("", "  ")
	if err := out.Encode(result); err != nil {
		return err
	}
	if result.Status != passcode.StatusSent && result.Status != passcode.StatusDelivered {
		e.Note("not sent: %s", why(result))
		return command.ErrSaid
	}
	return nil
}

func (s *sendCmd) job() (passcode.Job, error) {
	if s.TTL <= 0 || s.Wait <= 0 {
		return passcode.Job{}, errors.New("--ttl and --wait must be longer than nothing")
	}
	job := passcode.Job{
		RequestID: s.RequestID,
		Phone:     passcode.NewPhone(s.Phone),
		Code:      passcode.NewPasscode(s.Code),
		UsageType: s.UsageType,
		ExpiresAt: time.Now().Add(s.TTL).UTC().Truncate(time.Millisecond),
	}
	if job.RequestID == "" {
		job.RequestID = strings.ToLower(rand.Text())
	}
	_, err := job.Encode()
	return job, err
}

// await publishes the job and waits for its final result.
func (s *sendCmd) await(ctx context.Context, e *command.Env, job passcode.Job) (passcode.Result, error) {
	// Listening first: the result may be faster than the broker's acknowledgement.
	results := make(chan *nats.Msg, 64)
	subject := e.Cfg.Results.Subject + "." + job.RequestID
	_, err := e.JS.Conn().ChanSubscribe(subject, results)
	if err == nil {
		err = e.JS.Conn().FlushWithContext(ctx)
	}
	if err != nil {
		return passcode.Result{}, fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	dropped, err := jobs.Publish(ctx, e.JS, e.Cfg.Jobs.Subject, job)
	switch {
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, nats.ErrNoResponders):
		return passcode.Result{}, fmt.Errorf("no stream takes %s: start a worker, or run \"worker provision\"", e.Cfg.Jobs.Subject)
	case err != nil:
		return passcode.Result{}, err
	case dropped:
		return passcode.Result{}, fmt.Errorf(
			"the stream dropped the job: request %s was published within the last %s; see \"worker request %s\"",
			job.RequestID, e.Cfg.Jobs.DuplicateWindow, job.RequestID)
	}
	e.Note("request %s is queued", job.RequestID)

	last := passcode.Status("")
	for {
		select {
		case msg := <-results:
			var result passcode.Result
			if err := json.Unmarshal(msg.Data, &result); err != nil {
				return result, fmt.Errorf("the result on %s can't be read: %w", subject, err)
			}
			if result.Final {
				return result, nil
			}
			if result.Status != last {
				e.Note("%s", why(result))
			}
			last = result.Status
		case <-ctx.Done():
			if e.Stop.Err() != nil {
				return passcode.Result{}, fmt.Errorf("stopped waiting; the job goes on, see \"worker request %s\"", job.RequestID)
			}
			if last == "" {
				return passcode.Result{}, fmt.Errorf("no worker took the job up within %s; it stays queued until it expires", s.Wait)
			}
			return passcode.Result{}, fmt.Errorf("%w: still %s after %s; the job goes on, see \"worker request %s\"",
				context.Cause(ctx), last, s.Wait, job.RequestID)
		}
	}
}

// why is a result in a few words.
func why(r passcode.Result) string {
	text := string(r.Status)
	if r.Error != nil {
		text += " (" + r.Error.Code + ": " + show.Glossed(r.Error.Message) + ")"
	}
	if r.RetryAfterSeconds > 0 {
		text += fmt.Sprintf("; try again after %s", time.Duration(r.RetryAfterSeconds)*time.Second)
	}
	return text
}
