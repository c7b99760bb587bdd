package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/passcode-worker/passcode-worker/internal/account"
	"github.com/passcode-worker/passcode-worker/internal/aliyun"
	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/consumer"
	"github.com/passcode-worker/passcode-worker/internal/deadletter"
	"github.com/passcode-worker/passcode-worker/internal/health"
	"github.com/passcode-worker/passcode-worker/internal/jobs"
	"github.com/passcode-worker/passcode-worker/internal/ledger"
	"github.com/passcode-worker/passcode-worker/internal/phone"
	"github.com/passcode-worker/passcode-worker/internal/ratelimit"
	"github.com/passcode-worker/passcode-worker/internal/telemetry"
)

// teardownTimeout bounds each step of leaving, after the jobs are finished.
const teardownTimeout = 5 * time.Second

// app is one running worker: everything that lives from its start to its end,
// and the steps of taking it down again, the last thing built first.
type app struct {
	cfg     config.Config
	log     *slog.Logger
	worker  string
	metrics *telemetry.Metrics
	link    *link
	monitor *health.Monitor
	gate    atomic.Pointer[account.Breaker]
	breaker atomic.Pointer[aliyun.Breaker]
	running atomic.Pointer[pipeline]
	repairs repairs
	// starting says what the start waits for, until it is over.
	starting atomic.Pointer[string]
	teardown []step
}

// pipeline is what handles jobs, once it is built.
type pipeline struct {
	source   *jobs.Source
	consumer *consumer.Consumer
}

// step is one step of the teardown.
type step struct {
	name string
	do   func(context.Context) error
}

// runWorker runs a worker until stop ends, or force.
func runWorker(stop, force context.Context, cfg config.Config, log *slog.Logger) (err error) {
	a := &app{cfg: cfg, log: log, worker: workerName()}
	a.log = log.With("worker", a.worker)
	defer func() { err = errors.Join(err, a.close()) }()

	if err := a.connect(stop); err != nil {
		return err
	}
	if err := a.serve(stop); err != nil {
		return err
	}
	if err := a.prepare(stop); err != nil {
		if stop.Err() != nil {
			a.log.Info("stopped before the broker could be reached")
			return nil
		}
		return err
	}
	c, err := a.build(stop)
	if err != nil {
		if stop.Err() != nil {
			return nil
		}
		return err
	}
	a.starting.Store(nil)
	a.log.Info("ready", "concurrency", cfg.Worker.Concurrency, "endpoint", cfg.Aliyun.Endpoint)
	err = c.Run(stop, force)
	if errors.Is(err, consumer.ErrForced) {
		return fmt.Errorf("%w; each comes again when its lease of %s runs out", err, cfg.Worker.AckWait)
	}
	if err == nil {
		a.log.Info("stopped: every job in flight was finished or handed back")
	}
	return err
}

// workerName tells processes apart, in records and logs.
func workerName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}

func (a *app) later(name string, do func(context.Context) error) {
	a.teardown = append(a.teardown, step{name, do})
}

// close takes everything down, the last thing built first, each step bounded.
func (a *app) close() error {
	var errs []error
	for i := len(a.teardown) - 1; i >= 0; i-- {
		s := a.teardown[i]
		ctx, cancel := context.WithTimeoutCause(context.Background(), teardownTimeout,
			fmt.Errorf("took longer than %s", teardownTimeout))
		if err := s.do(ctx); err != nil {
			errs = append(errs, fmt.Errorf("close %s: %w", s.name, err))
		}
		cancel()
	}
	return errors.Join(errs...)
}

// background runs f until the teardown, which waits for it.
func (a *app) background(name string, f func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { f(ctx) })
	a.later(name, func(context.Context) error {
		cancel()
		running.Wait()
		return nil
	})
}

// connect starts the embedded broker, where there is one, and the connection.
func (a *app) connect(ctx context.Context) error {
	url := a.cfg.NATS.URL.Reveal()
	if a.cfg.NATS.Embedded.Enabled {
		embedded, err := broker.StartEmbedded(broker.EmbeddedOptions{
			Listen: a.cfg.NATS.Embedded.Listen, StoreDir: a.cfg.NATS.Embedded.StoreDir, Log: a.log,
		})
		if err != nil {
			return err
		}
		a.later("embedded broker", embedded.Stop)
		url = embedded.URL()
		a.log.Info("embedded broker runs", "url", url)
	}
	link, err := dial(ctx, a.cfg.NATS, url, "passcode-worker "+a.worker, broker.WorkerInbox, a.log)
	if err != nil {
		return err
	}
	a.link = link
	a.later("connection", func(ctx context.Context) error {
		defer link.nc.Close()
		if !link.nc.IsConnected() {
			return nil
		}
		// Acknowledgements are plain messages: they must have left.
		return link.nc.FlushWithContext(ctx)
	})
	return nil
}

// serve starts the HTTP endpoints, so that a worker that waits for its broker
// can already be asked what it waits for.
func (a *app) serve(ctx context.Context) error {
	names := make([]string, len(a.cfg.Limits.Phone))
	for i, r := range a.cfg.Limits.Phone {
		names[i] = r.String()
	}
	a.metrics = telemetry.NewMetrics(names)
	a.starting.Store(new("waiting for the broker"))
	a.monitor = health.New(health.Options{
		JS: a.link.js, Stream: a.cfg.Jobs.Stream, Consumer: a.cfg.Jobs.Consumer,
		Others: []health.Stream{
			{Name: "KV_" + a.cfg.Results.Bucket, Called: "bucket " + a.cfg.Results.Bucket},
			{Name: "KV_" + a.cfg.Limits.Bucket, Called: "bucket " + a.cfg.Limits.Bucket},
			{Name: a.cfg.DeadLetters.Stream, Called: "stream " + a.cfg.DeadLetters.Stream},
		},
		Repair: a.repair, Standing: a.standing,
		Connected: a.link.nc.IsConnected, Account: a.account, Pause: a.pause, Logger: a.log,
	})
	a.background("monitor", a.monitor.Run)
	a.metrics.Gauge("oldest_job_age_seconds", "Age of the oldest job in the stream that is not done.", a.monitor.OldestAge)
	a.metrics.Gauge("jobs_waiting", "Jobs in the stream that no worker has taken yet.", a.monitor.Waiting)
	a.metrics.Gauge("jobs_outstanding", "Jobs that some worker handles or that wait for another attempt.", a.monitor.Outstanding)
	a.metrics.Gauge("consumer_paused", "1 while the consumer is paused on the server.", a.monitor.Paused)
	a.metrics.Gauge("consumer_pause_remaining_seconds", "How much is left of the consumer's pause; 0 while it isn't paused.", a.monitor.PauseLeft)
	a.metrics.Gauge("account_closed", "1 while nothing can be sent for the account.", func() float64 {
		if a.account() != "" {
			return 1
		}
		return 0
	})
	a.metrics.Gauge("aliyun_unreachable", "1 while this worker makes no calls but probes, because Aliyun answers none.",
		func() float64 { return float64(len(a.outage())) })
	if a.cfg.HTTP.Listen == "" {
		return nil
	}
	server, err := telemetry.Serve(ctx, a.cfg.HTTP.Listen, a.metrics, a.notReady, a.log)
	if errors.Is(err, syscall.EADDRINUSE) {
		// Most likely another worker on this machine. Passcodes matter more than
		// a second set of metrics; who asks for this one's health sees that it
		// doesn't answer.
		a.log.Error("no health and no metrics from this worker: the address is in use; give each its own http.listen", "error", err)
		return nil
	}
	if err != nil {
		return err
	}
	a.later("HTTP server", server.Close)
	a.log.Info("HTTP listens", "address", server.Address())
	return nil
}

// notReady is what keeps the worker from doing its job.
func (a *app) notReady() []string {
	if why := a.starting.Load(); why != nil {
		return []string{"starting: " + *why}
	}
	return append(a.monitor.NotReady(), a.outage()...)
}

// account says why nothing can be sent for the account, empty where it can.
func (a *app) account() string {
	g := a.gate.Load()
	if g == nil {
		return ""
	}
	state := g.State()
	if !state.Closed() {
		return ""
	}
	return fmt.Sprintf("closed %s; next probe at %s", accountText(state), state.Until.Format(time.RFC3339))
}

// prepare waits for the broker and has everything there that the worker needs.
func (a *app) prepare(ctx context.Context) error {
	if !a.link.nc.IsConnected() {
		a.log.Info("waiting for the broker", "url", a.cfg.NATS.URL)
	}
	if err := broker.WaitConnected(ctx, a.link.nc); err != nil {
		return err
	}
	if err := broker.CheckServer(a.link.nc); err != nil {
		return err
	}
	a.starting.Store(new("provisioning streams and buckets"))
	return a.insist(ctx, "provisioning", func() error { return a.provision(ctx) })
}

// insist tries until f succeeds or ctx ends: a worker started before its broker
// is whole waits for it.
func (a *app) insist(ctx context.Context, what string, f func() error) error {
	b := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(200*time.Millisecond),
		backoff.WithMaxInterval(10*time.Second),
		backoff.WithMaxElapsedTime(0), // ctx bounds it
	)
	return backoff.RetryNotify(f, backoff.WithContext(b, ctx), func(err error, wait time.Duration) {
		a.log.Warn(what+" failed; trying again", "error", err, "wait", wait.Round(time.Millisecond))
	})
}

// build joins the parts of the pipeline.
func (a *app) build(ctx context.Context) (*consumer.Consumer, error) {
	cfg := a.cfg
	options := senderOptions(cfg)
	options.Logger = a.log
	sender, err := aliyun.New(options)
	if err != nil {
		return nil, usageError{err}
	}
	a.breaker.Store(sender.Breaker())
	a.later("sender", func(context.Context) error { sender.Close(); return nil })
	a.metrics.Gauge("send_rate_limit", "Calls a second that this worker allows itself; +Inf without limit, 0 while it makes none but probes.", sender.Rate)

	var records *ledger.Ledger
	var limiter *ratelimit.Limiter
	var breaker *account.Breaker
	err = a.insist(ctx, "opening the buckets", func() (err error) {
		if records, err = ledger.Open(ctx, a.link.js, cfg.Results.Bucket); err != nil {
			return err
		}
		limiter, err = ratelimit.Open(ctx, a.link.js, ratelimit.Options{
			Bucket: cfg.Limits.Bucket, Rules: cfg.Limits.Phone, Key: cfg.Limits.Key, Logger: a.log,
		})
		if err != nil {
			return err
		}
		breaker, err = account.Open(ctx, a.link.js, account.Options{
			Bucket: cfg.Limits.Bucket, Stream: cfg.Jobs.Stream, Consumer: cfg.Jobs.Consumer,
			Worker: a.worker, Logger: a.log,
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	a.gate.Store(breaker)
	a.background("account gate", func(ctx context.Context) {
		if err := breaker.Run(ctx); err != nil && ctx.Err() == nil {
			a.log.Error("account gate ended", "error", err)
		}
	})

	source := jobs.NewSource(a.link.js, jobs.SourceOptions{
		Stream: cfg.Jobs.Stream, Consumer: cfg.Jobs.Consumer,
		Prefetch: prefetch(cfg), Repair: a.repair, Logger: a.log,
	})
	c := consumer.New(consumer.Options{
		Source: source, Jobs: source,
		Ledger: records, Limiter: limiter, Sender: sender, Breaker: sender.Breaker(), Gate: breaker,
		DeadLetters: deadletter.New(a.link.js, deadletter.Options{
			Stream: cfg.DeadLetters.Stream, Subject: cfg.DeadLetters.Subject, Worker: a.worker,
			MaxPayload: a.link.nc.MaxPayload,
		}),
		Numbers:   phone.Parser{Strict: cfg.Aliyun.StrictPhoneRegionNumberCheck},
		Announcer: jobs.NewAnnouncer(a.link.nc),
		Metrics:   a.metrics,
		Logger:    a.log,
		Policy: consumer.Policy{
			PasscodeTTL:      cfg.Worker.PasscodeTTL,
			MaxAttempts:      cfg.Retry.MaxAttempts,
			MaxInterruptions: cfg.Worker.MaxInterruptions,
			Backoff: consumer.Backoff(cfg.Retry.InitialInterval, cfg.Retry.Multiplier,
				cfg.Retry.RandomizationFactor, cfg.Retry.MaxInterval),
			Lookups: cfg.Aliyun.InDoubt.Lookups,
			// Begun within one timeout of the claim, and over within another.
			CallBound: 2 * cfg.Aliyun.Timeout,
			Resend:    cfg.Aliyun.InDoubt.Resend,
		},
		Worker:          a.worker,
		ResultSubject:   cfg.Results.Subject,
		ReplySubjects:   cfg.Results.ReplySubjects,
		Concurrency:     cfg.Worker.Concurrency,
		AckWait:         cfg.Worker.AckWait,
		CallFence:       cfg.Aliyun.Timeout,
		ShutdownTimeout: cfg.Worker.ShutdownTimeout,
	})
	a.running.Store(&pipeline{source: source, consumer: c})
	a.background("watch for abandoned jobs", jobs.NewWatch(a.link.js, c, jobs.WatchOptions{
		Stream: cfg.Jobs.Stream, Consumer: cfg.Jobs.Consumer, Subject: cfg.Jobs.Subject,
		Scrub: telemetry.Scrub, Logger: a.log,
	}).Run)
	return c, nil
}

// maxPrefetch is how many jobs may wait in the worker for a free slot. At 5,000
// jobs a second it is what comes in 13 ms, longer than a pull takes.
const maxPrefetch = 64

// prefetch is how many jobs to ask for ahead. A job is leased while it waits for
// its turn, so at the lowest pace, that of the settings or of a sender that is
// throttled, all of them are taken up within two thirds of the lease.
func prefetch(cfg config.Config) int {
	pace := float64(aliyun.MinPace)
	if qps := cfg.Aliyun.MaxQPS; qps > 0 {
		pace = min(pace, float64(qps))
	}
	n := int(pace * cfg.Worker.AckWait.Seconds() * 2 / 3)
	return max(min(n, maxPrefetch, cfg.Worker.Concurrency), 1)
}

// senderOptions are the sender that the settings describe.
func senderOptions(cfg config.Config) aliyun.Options {
	a := cfg.Aliyun
	templates := make([]aliyun.Template, len(a.Templates))
	for i, t := range a.Templates {
		templates[i] = aliyun.Template{
			UsageType: t.UsageType, China: t.TemplateCode.China, Overseas: t.TemplateCode.Overseas,
			SignName: t.SignName, Params: t.Params,
		}
	}
	return aliyun.Options{
		Endpoint: a.Endpoint,
		Protocol: a.Protocol,
		Credentials: aliyun.Credentials{
			AccessKeyID: a.AccessKeyID.Reveal(), AccessKeySecret: a.AccessKeySecret, SecurityToken: a.SecurityToken,
		},
		SignName:       a.SignName,
		Templates:      templates,
		ConnectTimeout: a.ConnectTimeout,
		Timeout:        a.Timeout,
		MaxQPS:         float64(a.MaxQPS),
		Concurrency:    cfg.Worker.Concurrency,
	}
}
