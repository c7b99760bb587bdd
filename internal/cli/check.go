package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/passcode-worker/passcode-worker/internal/aliyun"
	"github.com/passcode-worker/passcode-worker/internal/app"
	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/check"
	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/ratelimit"
	"github.com/passcode-worker/passcode-worker/internal/text"
)

type checkCmd struct {
	JSON bool `name:"json" help:"One JSON object a line."`
}

func (*checkCmd) Help() string {
	return `Asks the broker and Aliyun what a worker with these settings would meet, on the machine and as the user that it runs as. It changes nothing and sends no SMS.

One line a check:

    settings     every mistake, with the key
    broker       reachable, with these credentials
    version      NATS 2.11 or later
    replicas     where there is a cluster, or should be one
    rights       every subject and request that a worker needs
    bucket, stream, consumer
                 there, and as the settings want them; each difference
    endpoint     Aliyun answers
    clock        this machine's against Aliyun's
    credentials  Aliyun accepts the access key
    signature    each is approved, and on file with the carriers
    template     each is approved, and for verification codes

"ok" is in order, "warn" is worth a look, or could not be checked, "fail" keeps a worker from its job or its promises. What can't be checked before something else is fixed says so.

Exit status: 0 nothing failed, 1 something did (a wrong setting too), 2 the command line is wrong.`
}

func (k *checkCmd) Run(e *command.Env) error {
	cfg, err := e.Settings(true)
	problems, isSettings := errors.AsType[*config.Errors](err)
	if err != nil && (!isSettings || problems.Concern("--set")) { // a wrong command line leaves open what was meant
		return err
	}
	plan := check.Plan{
		Config: cfg, Problems: problems, LimitsTTL: ratelimit.BucketTTL(cfg.Limits.Phone),
		Dial: func(ctx context.Context) (*nats.Conn, error) { return dialOnce(ctx, cfg) },
	}
	sender, err := askingSender(cfg, problems)
	if err != nil {
		plan.AliyunErr = err
	} else {
		plan.Aliyun = sender
		// A provider of keys may take its time: who wants to leave doesn't wait.
		defer func() {
			if e.Stop.Err() == nil {
				sender.Close()
			}
		}()
	}

	tell, count, unchecked := k.printer(e), map[check.Status]int{}, 0
	if err := plan.Run(e.Stop, func(r check.Result) {
		if strings.HasPrefix(r.Detail, "not checked: ") {
			unchecked++
		} else {
			count[r.Status]++
		}
		tell(r)
	}); err != nil {
		return err
	}
	e.Note("%d ok, %s, %d not checked, %d failed", count[check.OK], show.CountOf(count[check.Warn], "warning"), unchecked, count[check.Fail])
	if count[check.Fail] > 0 {
		return command.ErrSaid
	}
	return nil
}

// dialOnce connects as a worker does, or says why it can't.
func dialOnce(ctx context.Context, cfg config.Config) (*nats.Conn, error) {
	settings := cfg.NATS
	if settings.Embedded.Enabled {
		settings.URL = config.NewServerURLs("nats://" + dialable(settings.Embedded.Listen))
	}
	return broker.Connect(ctx, settings, "worker check", broker.WorkerInbox, slog.New(slog.DiscardHandler), nats.RetryOnFailedConnect(false))
}

// askingSender returns a sender for questions alone, whatever else is wrong.
func askingSender(cfg config.Config, problems *config.Errors) (*aliyun.Sender, error) {
	o := app.SenderOptions(cfg, slog.New(slog.DiscardHandler))
	o.MaxQPS, o.Concurrency = 0, 1
	if !problems.Usable("aliyun.connect_timeout", "aliyun.timeout") {
		defaults := config.Default().Aliyun
		o.ConnectTimeout, o.Timeout = defaults.ConnectTimeout, defaults.Timeout
	}
	if !problems.Usable("aliyun.access_key_id", "aliyun.access_key_secret", "aliyun.security_token") {
		o.Credentials = aliyun.Credentials{}
	}
	return aliyun.New(o)
}

func (k *checkCmd) printer(e *command.Env) func(check.Result) {
	if k.JSON {
		out := show.JSONLines(e.Stdout)
		return func(r check.Result) { _ = out.Encode(r) } // a pipe that is gone has no reader left
	}
	if s := show.NewScreen(e.Stdout); s.Terminal {
		return func(r check.Result) { printFolded(s, r) }
	}
	return func(r check.Result) {
		line := found(r)
		if r.Fix != "" {
			line += "; fix: " + oneLine(r.Fix)
		}
		e.Print("%-4s  %-11s  %s", r.Status, r.Check, line)
	}
}

// printFolded breaks the text into lines that fit; the fix has its own.
func printFolded(s *show.Screen, r check.Result) {
	const indent = 4 + 2 + 11 + 2
	lines := show.Wrapped(found(r), show.Width-indent)
	if r.Fix != "" {
		lead := "→ "
		for _, line := range show.Wrapped(oneLine(r.Fix), show.Width-indent-2) {
			lines = append(lines, s.Paint(show.Dim, lead+line))
			lead = "  "
		}
	}
	// Padded before it is painted, for colours take no room.
	status := s.Paint(statusColours[r.Status], fmt.Sprintf("%-4s", r.Status))
	s.Line("%s  %-11s  %s", status, r.Check, lines[0])
	for _, line := range lines[1:] {
		s.Line("%*s%s", indent, "", line)
	}
}

// found is what a result says, and of what.
func found(r check.Result) string {
	if r.Name == "" {
		return oneLine(r.Detail)
	}
	return oneLine(r.Name + ": " + r.Detail)
}

func oneLine(several string) string {
	return text.Printable(strings.ReplaceAll(several, "\n", "; "))
}

var statusColours = map[check.Status]string{check.OK: show.Green, check.Warn: show.Yellow, check.Fail: show.Red}
