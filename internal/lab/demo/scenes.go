package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/lab/emulator"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// demoCode is the passcode of every job of the demo. It has letters, because six digits
// appear by chance in the times and receipts of a log.
const demoCode = "w0kz7q"

// scene is one path that a job can take.
type scene struct {
	path   string // its name in the table
	story  string
	id     string
	phone  string        // without the leading +86
	raw    string        // in place of a well-formed job
	fault  string        // of the emulator, for the scene's phone
	expire time.Duration // the job's time to live; 0: the worker's default
	// during is called with each state of the request.
	during func(ctx context.Context, st *stage, r passcode.Result) error
	// play replaces publishing one job and waiting for its result.
	play func(ctx context.Context, st *stage, s scene) error
	want passcode.Status
	with string // what else the final result must have; has checks it
	has  func(r passcode.Result) bool
}

func scenes(burst int) []scene {
	killed := false
	return []scene{
		{
			path: "sent", story: "a job becomes one SMS and one result",
			id: "demo-sent", phone: "13800138001", want: passcode.StatusSent,
		},
		{
			path: "duplicate", story: "the same job three times more: no second SMS",
			id: "demo-sent", phone: "13800138001", play: playDuplicate, want: passcode.StatusSent,
			with: "duplicate", has: func(r passcode.Result) bool { return r.Duplicate },
		},
		{
			path: "rate limited", story: "another passcode for that phone within a minute",
			id: "demo-limited", phone: "13800138001", want: passcode.StatusRateLimited,
			with: "retry_after_seconds", has: func(r passcode.Result) bool { return r.RetryAfterSeconds > 0 && r.RetryAfterSeconds <= 60 },
		},
		{
			path: "retried, then sent", story: "Aliyun throttles twice: growing waits",
			id: "demo-retried", phone: "13800138002", fault: "code=Throttling.User,count=2", want: passcode.StatusSent,
			with: "3 attempts", has: func(r passcode.Result) bool { return r.Attempts == 3 },
		},
		{
			path: "in doubt, then settled", story: "Aliyun accepts, the connection breaks",
			id: "demo-doubt", phone: "13800138003", fault: "accept_drop,count=1", want: passcode.StatusSent,
			with: "recovered, 1 attempt", has: func(r passcode.Result) bool { return r.Recovered && r.Attempts == 1 },
		},
		{
			path: "rejected", story: "two numbers in one job",
			id: "demo-rejected", raw: `{"request_id":"demo-rejected","phone":"13800138004,13800138005","code":"` + demoCode + `"}`,
			want: passcode.StatusRejected,
		},
		{
			path: "expired", story: "a passcode that is no longer worth sending is not sent",
			id: "demo-expired", phone: "13800138006", expire: -time.Second, want: passcode.StatusExpired,
		},
		{
			path: "dead-lettered", story: "a template that Aliyun doesn't know: kept for an operator",
			id: "demo-dead", phone: "13800138007", fault: "code=isv.SMS_TEMPLATE_ILLEGAL,count=1", want: passcode.StatusDeadLettered,
		},
		{
			path: "killed, then settled", story: "kill -9 in mid-call: the next worker asks Aliyun first",
			id: "demo-killed", phone: "13800138008", fault: "latency=800ms,count=1", want: passcode.StatusSent,
			during: func(ctx context.Context, st *stage, r passcode.Result) error {
				if killed || r.Status != passcode.StatusSending {
					return nil
				}
				killed = true
				if err := st.untilAccepted(ctx, "demo-killed"); err != nil {
					return err
				}
				st.Kill(st.worker)
				st.screen.note("kill -9; another worker starts")
				var err error
				st.worker, err = st.StartWorker(ctx)
				return err
			},
			with: "recovered, 1 attempt", has: func(r passcode.Result) bool { return r.Recovered && r.Attempts == 1 },
		},
		{
			path:  fmt.Sprintf("%d at once", burst),
			story: "as many phones, one worker",
			id:    "demo-burst", play: playBurst(burst), want: passcode.StatusSent,
		},
	}
}

// row is what became of one scene.
type row struct {
	path   string
	result passcode.Result
	extra  string
}

// patience bounds how long one scene may take.
const patience = 45 * time.Second

// play plays one scene.
func (st *stage) play(ctx context.Context, s scene) error {
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("no final result within %s", patience))
	defer cancel()
	st.screen.begin(s)
	if s.fault != "" {
		if err := st.Admin.SetFaults(ctx, s.fault+",phone="+s.phone); err != nil {
			return err
		}
	}
	if s.play != nil {
		return s.play(ctx, st, s)
	}
	if err := st.publish(ctx, s); err != nil {
		return err
	}
	for {
		r, err := st.next(ctx, s.id)
		if err != nil {
			return err
		}
		st.screen.state(r)
		if s.during != nil {
			if err := s.during(ctx, st, r); err != nil {
				return err
			}
		}
		if r.Final {
			return st.end(s, r, "")
		}
	}
}

// end notes a scene's final result and checks it.
func (st *stage) end(s scene, r passcode.Result, extra string) error {
	st.screen.end()
	st.rows = append(st.rows, row{s.path, r, extra})
	switch {
	case r.Status != s.want:
		return fmt.Errorf("%s: ended as %s instead of %s", s.path, r.Status, s.want)
	case s.has != nil && !s.has(r):
		return fmt.Errorf("%s: the result lacks: %s", s.path, s.with)
	}
	return nil
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

func (s scene) job() ([]byte, error) {
	if s.raw != "" {
		return []byte(s.raw), nil
	}
	job := passcode.Job{
		RequestID: s.id, UsageType: "SignIn",
		Phone: passcode.NewPhone("+86" + s.phone), Code: passcode.NewPasscode(demoCode),
	}
	if s.expire != 0 {
		job.ExpiresAt = time.Now().Add(s.expire)
	}
	return job.Encode()
}

// publish publishes a scene's job without a message id, so that the worker finds the
// duplicates, not the stream.
func (st *stage) publish(ctx context.Context, s scene) error {
	data, err := s.job()
	if err != nil {
		return err
	}
	_, err = st.JS.Publish(ctx, st.Settings.Jobs.Subject, data)
	return err
}

// playDuplicate publishes the job three times more.
func playDuplicate(ctx context.Context, st *stage, s scene) error {
	var last passcode.Result
	for range 3 {
		err := st.publish(ctx, s)
		if err == nil {
			last, err = st.next(ctx, s.id)
		}
		if err != nil {
			return err
		}
		st.screen.state(last)
	}
	accepted, err := st.accepted(ctx)
	if err != nil {
		return err
	}
	if n := accepted[s.id]; n != 1 {
		return fmt.Errorf("%d messages for one request", n)
	}
	return st.end(s, last, "1 SMS for 4 jobs")
}

// playBurst publishes many jobs at once and waits for all of their results.
func playBurst(n int) func(context.Context, *stage, scene) error {
	return func(ctx context.Context, st *stage, s scene) error {
		began := time.Now()
		for i := range n {
			one := scene{id: fmt.Sprintf("%s-%d", s.id, i), phone: fmt.Sprintf("139%08d", i)}
			data, err := one.job()
			if err != nil {
				return err
			}
			if _, err := st.JS.PublishAsync(st.Settings.Jobs.Subject, data); err != nil {
				return err
			}
		}
		select {
		case <-st.JS.PublishAsyncComplete():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		for sent := 0; ; {
			r, err := st.next(ctx, s.id)
			switch {
			case err != nil:
				return err
			case !r.Final:
				continue
			case r.Status != passcode.StatusSent:
				return st.end(s, r, "")
			}
			sent++
			st.screen.progress(sent, n)
			if sent == n {
				return st.end(s, r, fmt.Sprintf("%.0f a second", float64(n)/time.Since(began).Seconds()))
			}
		}
	}
}

// accepted counts the messages that Aliyun accepted for each request.
func (st *stage) accepted(ctx context.Context) (map[string]int, error) {
	counts := map[string]int{}
	err := st.Admin.Each(ctx, 0, func(sent emulator.Sent) { counts[sent.OutID]++ })
	return counts, err
}

// untilAccepted waits until Aliyun has accepted the request's message.
func (st *stage) untilAccepted(ctx context.Context, id string) error {
	for {
		if accepted, err := st.accepted(ctx); accepted[id] > 0 || err != nil {
			return err
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// wholeNumber finds a phone number of the demo that is not masked. A letter or a digit may
// stand right before it only as the end of an escape, because times, receipts and ids have
// runs of digits too.
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
	twice := 0
	for _, n := range accepted {
		if n > 1 {
			twice++
		}
	}
	log, err := os.ReadFile(st.log.Name())
	if err != nil {
		return err
	}
	leaks := leaksIn(log)
	st.screen.table(st.rows)
	st.screen.totals(len(accepted), twice, bytes.Count(log, []byte("\n")), leaks)
	switch {
	case twice > 0:
		return fmt.Errorf("%d requests were sent more than once", twice)
	case leaks > 0:
		return errors.New("a passcode or a whole phone number stands in the workers' log")
	}
	return nil
}
