package check

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/passcode-worker/passcode-worker/internal/aliyun"
	"github.com/passcode-worker/passcode-worker/internal/aliyun/answer"
	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/brokertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answers is an Aliyun that answers as a test says: a nil function answers that
// all is well.
type answers struct {
	knock    func() (aliyun.Presence, error)
	sign     func(name string) (aliyun.Review, error)
	template func(code string) (aliyun.Review, error)
	asked    *[]string
}

func (a answers) note(name string) {
	if a.asked != nil {
		*a.asked = append(*a.asked, name)
	}
}

func (a answers) Knock(context.Context) (aliyun.Presence, error) {
	if a.knock != nil {
		return a.knock()
	}
	return aliyun.Presence{Dated: true}, nil
}

func (a answers) ReviewSign(_ context.Context, name string) (aliyun.Review, error) {
	a.note(name)
	if a.sign != nil {
		return a.sign(name)
	}
	return aliyun.Review{Approval: aliyun.Approved}, nil
}

func (a answers) ReviewTemplate(_ context.Context, code string) (aliyun.Review, error) {
	a.note(code)
	if a.template != nil {
		return a.template(code)
	}
	return aliyun.Review{Approval: aliyun.Approved, Kind: aliyun.Verification}, nil
}

// refusing answers every signed question with a failure of that code.
func refusing(code string) answers {
	class, _ := answer.ClassOf(code)
	if _, ours := answer.Texts[code]; ours {
		class = passcode.ClassTransient
	}
	failure := func(action string) error {
		return &answer.Failure{Action: action, Class: class, Code: code, Message: "as Aliyun says"}
	}
	return answers{
		sign:     func(string) (aliyun.Review, error) { return aliyun.Review{}, failure("GetSmsSign") },
		template: func(string) (aliyun.Review, error) { return aliyun.Review{}, failure("GetSmsTemplate") },
	}
}

var errNoBroker = errors.New("dial tcp 127.0.0.1:1: connect: connection refused")

// plan is one of good settings, without a broker.
func plan() Plan {
	cfg := config.Default()
	cfg.Aliyun.AccessKeyID = config.NewKeyID("LTAI5tTestKeyId")
	cfg.Aliyun.SignName = "Acme"
	cfg.Aliyun.Templates = []domain.Template{{UsageType: "Generic", TemplateCode: domain.TemplateCode{China: "SMS_1", Overseas: "SMS_2"}}}
	return Plan{
		Config: cfg, LimitsTTL: 25 * time.Hour,
		Dial:   func(context.Context) (*nats.Conn, error) { return nil, errNoBroker },
		Aliyun: answers{},
	}
}

// on gives a plan a broker.
func (p Plan) on(srv *brokertest.Handle) Plan {
	p.Dial = func(ctx context.Context) (*nats.Conn, error) {
		return broker.Connect(ctx, config.NATS{URL: config.NewServerURLs(srv.URL())}, "test", broker.WorkerInbox, slog.New(slog.DiscardHandler), nats.RetryOnFailedConnect(false))
	}
	return p
}

// with reads problems from settings as a file has them.
func (p Plan) with(t *testing.T, file string) Plan {
	t.Helper()
	_, err := config.Load(config.Source{ReadFile: func(string) ([]byte, error) { return []byte(file), nil }})
	require.ErrorAs(t, err, &p.Problems)
	return p
}

// found runs a plan and returns its results.
func found(t *testing.T, p Plan) []Result {
	t.Helper()
	var list []Result
	require.NoError(t, p.Run(t.Context(), func(r Result) { list = append(list, r) }))
	for _, r := range list {
		require.NotEmpty(t, r.Detail, r)
		require.Contains(t, []Status{OK, Warn, Fail}, r.Status, r)
		require.False(t, r.Status == OK && r.Fix != "", "nothing to fix: %+v", r)
		require.False(t, r.Status == Fail && r.Fix == "", "a failure without a fix: %+v", r)
	}
	return list
}

// brief lists the results from the given check on, without what is in order.
func brief(list []Result, checks ...string) []string {
	var lines []string
	for _, r := range list {
		for _, check := range checks {
			if r.Check == check && r.Status != OK {
				lines = append(lines, fmt.Sprintf("%s %s %s: %s", r.Status, r.Check, r.Name, r.Detail))
			}
		}
	}
	return lines
}
