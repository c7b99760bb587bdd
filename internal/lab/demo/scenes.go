package demo

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// demoCode is the passcode of every job of the demo. It has letters, because six digits
// appear by chance in the times and ids of a log.
const demoCode = "w0kz7q"

// scene is one path that a job can take.
type scene struct {
	path     string // its name in the table
	story    string
	id       string
	phone    string        // without the leading +86
	jobs     int           // how many times the job is published; 0: once
	burst    bool          // each job is a request of its own, to a phone of its own
	fault    string        // of the emulator, for the scene's phone
	expire   time.Duration // the job's time to live; 0: the worker's default
	kill     bool          // the worker, while it waits for Aliyun's answer
	want     passcode.Status
	attempts int    // 0: any number
	shows    string // what else the final result must say
}

func scenes(burst int) []scene {
	const sent = passcode.StatusSent
	return []scene{
		{path: "sent", story: "a job becomes one SMS and one result",
			id: "demo-sent", phone: "13800138001", want: sent},
		{path: "duplicate", story: "the same job three times more: no second SMS",
			id: "demo-sent", phone: "13800138001", jobs: 3, want: sent, shows: "duplicate"},
		{path: "rate limited", story: "another passcode for that phone within a minute",
			id: "demo-limited", phone: "13800138001", want: passcode.StatusRateLimited, shows: "retry after"},
		{path: "retried, then sent", story: "Aliyun throttles twice: growing waits",
			id: "demo-retried", phone: "13800138002", fault: "code=Throttling.User,count=2", want: sent, attempts: 3},
		{path: "in doubt, then settled", story: "Aliyun accepts, the connection breaks",
			id: "demo-doubt", phone: "13800138003", fault: "accept_drop,count=1", want: sent, attempts: 1, shows: "recovered"},
		{path: "rejected", story: "two numbers in one job",
			id: "demo-rejected", phone: "13800138004,13800138005", want: passcode.StatusRejected},
		{path: "expired", story: "a passcode that is no longer worth sending is not sent",
			id: "demo-expired", phone: "13800138006", expire: -time.Second, want: passcode.StatusExpired},
		{path: "dead-lettered", story: "a template that Aliyun doesn't know: kept for an operator",
			id: "demo-dead", phone: "13800138007", fault: "code=isv.SMS_TEMPLATE_ILLEGAL,count=1", want: passcode.StatusDeadLettered},
		{path: "killed, then settled", story: "kill -9 in mid-call: the next worker asks Aliyun first",
			id: "demo-killed", phone: "13800138008", fault: "latency=800ms,count=1", kill: true,
			want: sent, attempts: 1, shows: "recovered"},
		{path: fmt.Sprintf("%d at once", burst), story: "as many phones, one worker",
			id: "demo-burst", jobs: burst, burst: true, want: sent},
	}
}

const patience = 45 * time.Second // with one scene

// play plays one scene and checks its end.
func (st *stage) play(ctx context.Context, s scene) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no final result within %s", patience))
	defer cancel()
	st.begin(s)
	if s.fault != "" {
		if err := st.Admin.SetFaults(ctx, s.fault+",phone="+s.phone); err != nil {
			return err
		}
	}
	began, jobs := time.Now(), max(s.jobs, 1)
	for i := range jobs {
		if err := st.publish(ctx, s, i); err != nil {
			return err
		}
	}
	progress := &show.Progress{}
	if s.burst {
		progress = show.NewProgress(st.W, jobs)
	}
	for final := 0; ; {
		r, err := st.next(ctx, s.id)
		if err != nil {
			return err
		}
		if !s.burst {
			st.state(r)
		}
		if s.kill && r.Status == passcode.StatusSending {
			s.kill = false // once
			if err := st.replaceWorker(ctx, s.id); err != nil {
				return err
			}
		}
		if !r.Final {
			continue
		}
		final++
		progress.Add()
		what := detail(r)
		switch {
		case r.Status != s.want:
			err = fmt.Errorf("%s: ended as %s instead of %s", s.path, r.Status, s.want)
		case s.attempts != 0 && r.Attempts != s.attempts:
			err = fmt.Errorf("%s: took %d attempts instead of %d", s.path, r.Attempts, s.attempts)
		case !strings.Contains(what, s.shows):
			err = fmt.Errorf("%s: the result lacks: %s", s.path, s.shows)
		case final < jobs:
			continue
		}
		if s.burst {
			what = fmt.Sprintf("%.0f a second", float64(final)/time.Since(began).Seconds())
			progress.Clear()
			st.step(r.Status, what)
		}
		st.ends.Row(s.path, r.Status, r.Attempts, what)
		return err
	}
}

// next waits for the next state of the requests whose ids begin so.
func (st *stage) next(ctx context.Context, id string) (r passcode.Result, err error) {
	for {
		msg, err := st.results.NextMsgWithContext(ctx)
		if ctx.Err() != nil {
			return r, context.Cause(ctx)
		}
		if err != nil {
			return r, err
		}
		if strings.HasPrefix(msg.Subject, st.Settings.Results.Subject+"."+id) {
			return r, json.Unmarshal(msg.Data, &r)
		}
	}
}

// publish publishes a scene's job without a message id, so that the worker finds the
// duplicates, not the stream. i tells the jobs of a burst apart.
func (st *stage) publish(ctx context.Context, s scene, i int) error {
	if s.burst {
		s.id, s.phone = fmt.Sprintf("%s-%d", s.id, i), fmt.Sprintf("139%08d", i)
	}
	job := passcode.Job{
		RequestID: s.id, UsageType: "SignIn",
		Phone: passcode.NewPhone("+86" + s.phone), Code: passcode.NewPasscode(demoCode),
	}
	if s.expire != 0 {
		job.ExpiresAt = time.Now().Add(s.expire)
	}
	data, err := job.Encode()
	if err == nil {
		_, err = st.JS.Publish(ctx, st.Settings.Jobs.Subject, data)
	}
	return err
}

// replaceWorker kills the worker as soon as Aliyun has accepted the request's message, and starts another.
func (st *stage) replaceWorker(ctx context.Context, id string) (err error) {
	for range time.Tick(5 * time.Millisecond) {
		accepted, err := st.accepted(ctx)
		if err != nil {
			return cmp.Or(context.Cause(ctx), err)
		}
		if accepted[id] > 0 {
			break
		}
	}
	st.Kill(st.worker)
	st.step("killed", "another worker starts")
	st.worker, err = st.StartWorker(ctx)
	return err
}

// accepted counts the messages that Aliyun accepted for each request.
func (st *stage) accepted(ctx context.Context) (map[string]int, error) {
	counts := map[string]int{}
	err := st.Admin.Each(ctx, 0, func(sent emulator.Sent) { counts[sent.OutID]++ })
	return counts, err
}

// wholeNumber finds a phone number of the demo that is not masked. A letter or a digit may stand right before it
// only as the end of an escape, because times and ids have runs of digits too.
var wholeNumber = regexp.MustCompile(
	`(?:^|[^0-9A-Za-z]|%[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\[nrt])(?:0*86)?13[89]\d{8}(?:[^0-9A-Za-z]|$)`)

// leaksIn counts the passcodes and whole phone numbers of the demo in a log.
func leaksIn(log []byte) int {
	return bytes.Count(log, []byte(demoCode)) + len(wholeNumber.FindAll(log, -1))
}

// summary prints the table and checks that nothing was sent twice and nothing leaked.
func (st *stage) summary(ctx context.Context) error {
	accepted, err := st.accepted(ctx)
	if err != nil {
		return err
	}
	requests := len(accepted)
	maps.DeleteFunc(accepted, func(_ string, messages int) bool { return messages == 1 })
	twice := len(accepted)
	log, err := os.ReadFile(st.log.Name())
	if err != nil {
		return err
	}
	leaks := leaksIn(log)
	st.Line("")
	if err := st.ends.Flush(); err != nil {
		return err
	}
	st.Line("\n%d requests sent by Aliyun, %d of them twice.", requests, twice)
	st.Line("%d lines of worker log, %d passcodes or whole numbers in them.", bytes.Count(log, []byte("\n")), leaks)
	switch {
	case twice > 0:
		return fmt.Errorf("%d requests were sent more than once", twice)
	case leaks > 0:
		return errors.New("a passcode or a whole phone number stands in the workers' log")
	}
	return nil
}
