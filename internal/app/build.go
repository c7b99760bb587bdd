package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/passcode-worker/passcode-worker/internal/account"
	"github.com/passcode-worker/passcode-worker/internal/aliyun"
	"github.com/passcode-worker/passcode-worker/internal/aliyun/pace"
	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/consumer"
	"github.com/passcode-worker/passcode-worker/internal/deadletter"
	"github.com/passcode-worker/passcode-worker/internal/jobs"
	"github.com/passcode-worker/passcode-worker/internal/ledger"
	"github.com/passcode-worker/passcode-worker/internal/phone"
	"github.com/passcode-worker/passcode-worker/internal/ratelimit"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/internal/telemetry"
)

// prepare waits for the broker and has everything there that the worker needs.
func (a *App) prepare(ctx context.Context) error {
	if !a.js.Conn().IsConnected() {
		a.log.Info("waiting for the broker", "url", a.cfg.NATS.URL)
	}
	if err := broker.WaitConnected(ctx, a.js.Conn()); err != nil {
		return err
	}
	if err := broker.CheckServer(a.js.Conn()); err != nil {
		return err
	}
	a.parts.Store(&parts{starting: "provisioning streams and buckets"})
	return a.untilDone(ctx, "provisioning", a.provision)
}

// untilDone tries until f succeeds or ctx ends: the broker may still be starting.
func (a *App) untilDone(ctx context.Context, what string, f func(context.Context) error) error {
	return retry.Start.Do(retry.Observe(ctx, func(err error) {
		a.log.Warn(what+" failed; trying again", "error", err)
	}), f)
}

// provision creates what is missing and tells what differs, and what was lost.
func (a *App) provision(ctx context.Context) error {
	a.provisioning.Lock()
	defer a.provisioning.Unlock()
	items, err := broker.Provision(ctx, a.js, a.cfg, ratelimit.BucketTTL(a.cfg.Limits.Phone), a.cfg.NATS.Provision)
	missing := false
	for _, item := range items {
		a.tell(item)
		missing = missing || item.State == broker.StateMissing
	}
	if err == nil && missing {
		return errors.New(`nats.provision is off; create it with "worker provision"`)
	}
	return err
}

// tell logs how an item was found, where that is news.
func (a *App) tell(item broker.Item) {
	log := a.log.With("kind", item.Kind, "name", item.Name)
	thing := fmt.Sprint(item.Kind, " ", item.Name)
	before := broker.State(a.told.Last(thing))
	changed := a.told.Changed(thing, string(item.State))
	switch {
	case item.State == broker.StateCreated && (before == "" || before == broker.StateMissing):
		log.Info("created")
	case item.State == broker.StateCreated: // also twice in a row
		log.Error("somebody deleted it, and what was in it is lost; recreated")
	case !changed:
	case item.State == broker.StateDiffers:
		log.Warn("not as the settings want it; left as it is", "differences", fmt.Sprint(item.Differences))
	case item.State == broker.StateMissing:
		log.Error(`missing, and nats.provision is off; create it with "worker provision"`)
	case before == broker.StateMissing:
		log.Info("there again")
	}
}

// repair creates what somebody has deleted under the running worker, as far as the
// settings allow it. The start provisions by itself: until it is over this does nothing.
func (a *App) repair(ctx context.Context) error {
	if a.parts.Load().starting != "" {
		return nil
	}
	return a.provision(ctx)
}

func (a *App) build(ctx context.Context) error {
	cfg := a.cfg
	sender, err := aliyun.New(SenderOptions(cfg, a.log))
	if err != nil {
		return UsageError{err}
	}
	a.later("sender", func(context.Context) error { sender.Close(); return nil })
	a.metrics.Gauge("send_rate_limit", "Calls a second that this worker allows itself; +Inf without limit, 0 while it makes none but probes.", sender.Rate)

	var records *ledger.Ledger
	var limiter *ratelimit.Limiter
	var breaker *account.Breaker
	err = a.untilDone(ctx, "opening the buckets", func(ctx context.Context) (err error) {
		if records, err = ledger.Open(ctx, a.js, cfg.Results.Bucket); err != nil {
			return err
		}
		limiter, err = ratelimit.Open(ctx, a.js, ratelimit.Options{
			Bucket: cfg.Limits.Bucket, Rules: cfg.Limits.Phone, Key: cfg.Limits.Key, Logger: a.log,
		})
		if err != nil {
			return err
		}
		breaker, err = account.Open(ctx, a.js, account.Options{
			Bucket: cfg.Limits.Bucket, Stream: cfg.Jobs.Stream, Consumer: cfg.Jobs.Consumer,
			Worker: a.worker, Logger: a.log,
		})
		return err
	})
	if err != nil {
		return err
	}
	a.background("account breaker", breaker.Run)

	source := jobs.NewSource(a.js, jobs.SourceOptions{
		Stream: cfg.Jobs.Stream, Consumer: cfg.Jobs.Consumer,
		Prefetch: prefetch(cfg), Repair: a.repair, Logger: a.log,
	})
	c := consumer.New(consumer.Options{
		Source: source, Ledger: records, Limiter: limiter, Sender: sender, Outage: sender.OutageBreaker, Account: breaker,
		Waits: source.Waits, Announce: source.Announce,
		ParsePhone: phone.Parser{Strict: cfg.Aliyun.StrictPhoneRegionNumberCheck}.Parse,
		WriteDeadLetter: (&deadletter.Store{
			JS: a.js, Stream: cfg.DeadLetters.Stream, Subject: cfg.DeadLetters.Subject, Worker: a.worker, Now: time.Now,
		}).Write,
		Metrics: a.metrics, Logger: a.log,
		Policy: consumer.Policy{
			PasscodeTTL: cfg.Worker.PasscodeTTL, MaxAttempts: cfg.Retry.MaxAttempts, MaxInterruptions: cfg.Worker.MaxInterruptions,
			Backoff: consumer.Backoff(cfg.Retry.InitialInterval, cfg.Retry.Multiplier,
				cfg.Retry.RandomizationFactor, cfg.Retry.MaxInterval),
			Lookups: cfg.Aliyun.InDoubt.Lookups, Resend: cfg.Aliyun.InDoubt.Resend,
			// Begun within one timeout of the claim, and over within another.
			CallBound: 2 * cfg.Aliyun.Timeout,
		},
		Worker: a.worker, ResultSubject: cfg.Results.Subject,
		MayReplyTo: func(subject string) bool {
			covers := func(pattern string) bool { return server.SubjectMatchesFilter(subject, pattern) }
			return slices.ContainsFunc(cfg.Results.ReplySubjects, covers)
		},
		Concurrency: cfg.Worker.Concurrency, AckWait: cfg.Worker.AckWait, CallFence: cfg.Aliyun.Timeout,
		ShutdownTimeout: cfg.Worker.ShutdownTimeout, Now: func() time.Time { return time.Now().UTC() },
	}, consumer.EffectsInOrder)
	a.parts.Store(&parts{account: breaker, outage: sender.OutageBreaker, source: source, consumer: c})
	a.background("watch for undeliverable jobs", (&jobs.Watch{
		JS: a.js, Stream: cfg.Jobs.Stream, Consumer: cfg.Jobs.Consumer, Subject: cfg.Jobs.Subject,
		Handler: c, Scrub: telemetry.Scrub, Logger: a.log, Sweep: time.Minute, Again: 5 * time.Second,
	}).Run)
	return nil
}

// SenderOptions are the sender that the settings describe.
func SenderOptions(cfg config.Config, log *slog.Logger) aliyun.Options {
	a := cfg.Aliyun
	return aliyun.Options{
		Endpoint: a.Endpoint, Protocol: a.Protocol, SignName: a.SignName, Templates: a.Templates,
		Credentials: aliyun.Credentials{
			AccessKeyID: a.AccessKeyID.Reveal(), AccessKeySecret: a.AccessKeySecret, SecurityToken: a.SecurityToken,
		},
		ConnectTimeout: a.ConnectTimeout, Timeout: a.Timeout,
		MaxQPS: float64(a.MaxQPS), Concurrency: cfg.Worker.Concurrency, Now: time.Now, Logger: log,
	}
}

// maxPrefetch is how many jobs may wait in the worker for a free slot. At 5,000
// jobs a second it is what comes in 13 ms, longer than a pull takes.
const maxPrefetch = 64

// prefetch is how many jobs to ask for ahead. A job is leased while it waits for its permit, so at the lowest pace,
// that of the settings or of a sender that is throttled, all of them are taken up within two thirds of the lease.
func prefetch(cfg config.Config) int {
	lowest := float64(pace.Min)
	if qps := cfg.Aliyun.MaxQPS; qps > 0 {
		lowest = min(lowest, float64(qps))
	}
	n := int(lowest * cfg.Worker.AckWait.Seconds() * 2 / 3)
	return max(min(n, maxPrefetch, cfg.Worker.Concurrency), 1)
}
