package app

import (
	"context"
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
	"github.com/passcode-worker/passcode-worker/passcode"
)

// prepare waits for the broker and has everything there that the worker needs.
func (a *App) prepare(ctx context.Context) error {
	if !a.link.NC.IsConnected() {
		a.log.Info("waiting for the broker", "url", a.cfg.NATS.URL)
	}
	if err := broker.WaitConnected(ctx, a.link.NC); err != nil {
		return err
	}
	if err := broker.CheckServer(a.link.NC); err != nil {
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

// build joins the parts of the pipeline.
func (a *App) build(ctx context.Context) error {
	cfg := a.cfg
	options := SenderOptions(cfg)
	options.Logger = a.log
	sender, err := aliyun.New(options)
	if err != nil {
		return UsageError{err}
	}
	a.later("sender", func(context.Context) error { sender.Close(); return nil })
	a.metrics.Gauge("send_rate_limit", "Calls a second that this worker allows itself; +Inf without limit, 0 while it makes none but probes.", sender.Rate)

	var records *ledger.Ledger
	var limiter *ratelimit.Limiter
	var breaker *account.Breaker
	err = a.untilDone(ctx, "opening the buckets", func(ctx context.Context) (err error) {
		if records, err = ledger.Open(ctx, a.link.JS, cfg.Results.Bucket); err != nil {
			return err
		}
		limiter, err = ratelimit.Open(ctx, a.link.JS, ratelimit.Options{
			Bucket: cfg.Limits.Bucket, Rules: cfg.Limits.Phone, Key: cfg.Limits.Key, Logger: a.log,
		})
		if err != nil {
			return err
		}
		breaker, err = account.Open(ctx, a.link.JS, account.Options{
			Bucket: cfg.Limits.Bucket, Stream: cfg.Jobs.Stream, Consumer: cfg.Jobs.Consumer,
			Worker: a.worker, Logger: a.log,
		})
		return err
	})
	if err != nil {
		return err
	}
	a.background("account breaker", breaker.Run)

	source := jobs.NewSource(a.link.JS, jobs.SourceOptions{
		Stream: cfg.Jobs.Stream, Consumer: cfg.Jobs.Consumer,
		Prefetch: prefetch(cfg), Repair: a.repair, Logger: a.log,
	})
	c := consumer.New(consumer.Options{
		Source: source, Ledger: records, Limiter: limiter, Sender: sender, Outage: sender.OutageBreaker, Account: breaker,
		Waits:      source.Waits,
		ParsePhone: phone.Parser{Strict: cfg.Aliyun.StrictPhoneRegionNumberCheck}.Parse,
		Announce: func(subject string, result passcode.Result) error {
			return jobs.Announce(a.link.NC, subject, result)
		},
		WriteDeadLetter: (&deadletter.Store{
			JS: a.link.JS, Stream: cfg.DeadLetters.Stream, Subject: cfg.DeadLetters.Subject, Worker: a.worker, Now: time.Now,
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
		MayReplyTo:  func(subject string) bool { return covered(cfg.Results.ReplySubjects, subject) },
		Concurrency: cfg.Worker.Concurrency, AckWait: cfg.Worker.AckWait, CallFence: cfg.Aliyun.Timeout,
		ShutdownTimeout: cfg.Worker.ShutdownTimeout, Now: func() time.Time { return time.Now().UTC() },
	}, consumer.EffectsInOrder)
	a.parts.Store(&parts{account: breaker, outage: sender.OutageBreaker, source: source, consumer: c})
	a.background("watch for undeliverable jobs", (&jobs.Watch{
		JS: a.link.JS, Stream: cfg.Jobs.Stream, Consumer: cfg.Jobs.Consumer, Subject: cfg.Jobs.Subject,
		Handler: c, Scrub: telemetry.Scrub, Logger: a.log, Sweep: time.Minute, Again: 5 * time.Second,
	}).Run)
	return nil
}

// covered reports whether one of the patterns covers the subject.
func covered(patterns []string, subject string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return server.SubjectMatchesFilter(subject, p) })
}

// maxPrefetch is how many jobs may wait in the worker for a free slot. At 5,000
// jobs a second it is what comes in 13 ms, longer than a pull takes.
const maxPrefetch = 64

// prefetch is how many jobs to ask for ahead. A job is leased while it waits for
// its permit, so at the lowest pace, that of the settings or of a sender that is
// throttled, all of them are taken up within two thirds of the lease.
func prefetch(cfg config.Config) int {
	lowest := float64(pace.Min)
	if qps := cfg.Aliyun.MaxQPS; qps > 0 {
		lowest = min(lowest, float64(qps))
	}
	n := int(lowest * cfg.Worker.AckWait.Seconds() * 2 / 3)
	return max(min(n, maxPrefetch, cfg.Worker.Concurrency), 1)
}
