package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/jobs"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator"
	"github.com/passcode-worker/passcode-worker/internal/lab/system"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/passcode"
)

const (
	// auditEvery is after how many samples what the emulator accepted is read, a few
	// thousand messages each time, so that the emulator need not keep it.
	auditEvery   = 5
	auditWithin  = 5 * time.Second
	soon         = 20 * time.Millisecond // how often to see whether a run is over
	warmUpMost   = 10_000                // jobs
	warmUpWithin = 2 * time.Minute
	// pendingResults bounds how many results wait to be read. More are dropped, and found
	// at the end in the records.
	pendingResults = 1 << 20
	publishWithin  = time.Minute // one job; the stream drops repeats by their message id
)

// run is one measurement. It looks at the system each second and shows it.
type run struct {
	e *command.Env
	b *Cmd
	*system.System
	workers []*system.Worker
	screen  *screen
	plot    *os.File // nil without --plot

	book    *Book
	began   time.Time
	samples []Sample  // one a second; the first is from before the run
	audited int       // how many messages of the emulator were read
	moved   time.Time // when a job last became final, or none was in progress
}

// measure runs the load and shows the result.
func (r *run) measure() error {
	n := warmUpJobs(r.Settings, r.b.Workers)
	r.screen.begin(n)
	if err := r.warmUp(n); err != nil {
		return command.Stopped(r.e.Stop, err)
	}
	r.began = time.Now()
	r.moved = r.began
	r.book = NewBook(newRequests(r.began))
	r.samples = []Sample{r.usage(r.e.Stop)}
	drive, unsubscribe, err := r.drive(Load{
		Jobs: r.b.jobs(), For: r.b.For, Rate: float64(r.b.Rate), Window: window * r.Settings.Worker.Concurrency * r.b.Workers,
	}, r.book)
	if err != nil {
		return err
	}

	published := make(chan error, 1)
	go func() { published <- drive.Run(r.e.Stop) }()
	failure := cmp.Or(r.watch(published), r.Ended())
	unsubscribe()
	r.lookUp(r.e.Force)
	err = r.readAccepted(r.e.Force)
	summary := summarise(r.samples, min(earlyJobs, r.b.jobs()/10), r.book.Progress(Progress{}), r.book.Audit())
	if err == nil {
		err = r.screen.summary(summary)
	}
	if r.plot != nil {
		err = errors.Join(err, plot(r.plot, r.screen.asked()+"; "+r.screen.setup(), r.book), r.plot.Close())
	}
	switch {
	case r.e.Force.Err() != nil:
		return errors.New("left at once: jobs may have been in progress")
	case failure != nil:
		return errors.Join(fmt.Errorf("the run broke off: %w", failure), err)
	case err != nil:
		return err
	case !summary.Audit.Clean():
		return command.ErrSaid
	}
	return nil
}

// drive prepares a load, whose results are noted in the book until unsubscribe is called.
func (r *run) drive(load Load, book *Book) (d *Drive, unsubscribe func(), err error) {
	patient := retry.Request
	patient.Total = publishWithin
	load.Publish = func(ctx context.Context, i int) error {
		return patient.Do(ctx, func(ctx context.Context) error {
			_, err := jobs.Publish(ctx, r.JS, r.Settings.Jobs.Subject, book.Job(i))
			return err
		})
	}
	d = NewDrive(load, book)
	subscription, err := r.JS.Conn().Subscribe(r.Settings.Results.Subject+".>", func(msg *nats.Msg) {
		if noteResult(book, msg.Data) {
			d.Freed()
		}
	})
	// The subscription must have arrived before the first job does.
	err = errors.Join(err, subscription.SetPendingLimits(pendingResults, pendingResults*512), r.JS.Conn().FlushTimeout(command.Patience))
	return d, func() { _ = subscription.Unsubscribe() }, err
}

// noteResult notes a result in the book, and reports whether it ends its job.
func noteResult(book *Book, data []byte) bool {
	var result struct {
		RequestID string          `json:"request_id"`
		Status    passcode.Status `json:"status"`
	}
	err := json.Unmarshal(data, &result)
	i, ours := book.Index(result.RequestID)
	return err == nil && ours && book.Announced(i, result.Status, time.Now())
}

// warmUpJobs is how many jobs warm the workers up: enough for all of their calls to be in
// progress at once, or for two seconds if aliyun.max_qps allows fewer.
func warmUpJobs(cfg config.Config, workers int) int {
	n := min(window*cfg.Worker.Concurrency*workers, warmUpMost)
	if qps := cfg.Aliyun.MaxQPS; qps > 0 {
		n = min(n, 2*qps*workers)
	}
	return n
}

// warmUp has the workers make as many calls at a time as they may, before anything is
// measured. A process keeps some of the memory that this takes, such as that of its
// goroutines. If it were needed later, when the machine stumbles, it would look like a leak.
func (r *run) warmUp(n int) error {
	ctx, cancel := context.WithTimeoutCause(r.e.Stop, warmUpWithin,
		fmt.Errorf("the warm-up did not end within %s", show.Roughly(warmUpWithin)))
	defer cancel()
	book := NewBook(warmUp)
	drive, unsubscribe, err := r.drive(Load{Jobs: n, Window: n}, book)
	if err != nil {
		return err
	}
	defer unsubscribe()
	if err := drive.Run(ctx); err != nil {
		return err
	}
	if err := r.wait(ctx, book.Settled); err != nil {
		return err
	}
	return r.Admin.Reset(ctx)
}

// wait waits until it is done, ctx ends, or nothing more can be expected. During the run
// it takes a sample each second.
func (r *run) wait(ctx context.Context, done func() bool) error {
	tick := time.NewTicker(soon)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if err := r.Ended(); err != nil {
			return err
		}
		if r.book == nil { // the warm-up is not measured
			continue
		}
		if time.Since(r.began).Truncate(time.Second) > r.last().Elapsed() {
			r.look()
		}
		if time.Since(r.moved) > stillAfter {
			return fmt.Errorf("no job became final for %s", stillAfter)
		}
	}
	return nil
}

// watch waits until everything is published and final. Where the run is stopped, it waits
// a while for the jobs in progress. It returns why the run broke off, if it did.
func (r *run) watch(published <-chan error) error {
	var failure error
	over := false
	err := r.wait(r.e.Force, func() bool {
		select {
		case failure = <-published: // also where the run was stopped
			over = true
		default:
		}
		return failure != nil || over && (r.book.Settled() || r.e.Stop.Err() != nil)
	})
	if !r.book.Settled() && r.Ended() == nil {
		r.screen.Line("\nstopping: waiting at most %s for the jobs in progress; Ctrl-C leaves at once", drainWithin)
		r.screen.over = ""
		ctx, cancel := context.WithTimeout(r.e.Force, drainWithin)
		defer cancel()
		_ = r.wait(ctx, r.book.Settled) // what is not final then, the summary tells
	}
	r.look() // the last one; a run may be shorter than a second
	return cmp.Or(failure, err)
}

func (r *run) last() Sample { return r.samples[len(r.samples)-1] }

// look takes a sample. Workers that are too busy to answer are taken to use as much as before.
func (r *run) look() {
	ctx, cancel := context.WithTimeout(r.e.Force, time.Second)
	defer cancel()
	before, now := r.last(), r.usage(ctx)
	now.Type, now.Seconds = "sample", time.Since(r.began).Round(time.Millisecond).Seconds()
	now.Progress = r.book.Progress(before.Progress)
	now.PerSecond = pace(before, now)
	if now.Worker == (Usage{}) {
		now.Worker = before.Worker
	}
	if now.Final > before.Final || now.Final == now.Published {
		r.moved = time.Now()
	}
	r.samples = append(r.samples, now)
	r.screen.sample(now)
	if len(r.samples)%auditEvery == 0 {
		reading, cancel := context.WithTimeout(r.e.Force, auditWithin)
		defer cancel()
		_ = r.readAccepted(reading) // what is not read now is read the next time
	}
}

// usage asks every worker for its /metrics, and the operating system for the others. If
// one doesn't answer, nothing is known of the workers.
func (r *run) usage(ctx context.Context) Sample {
	s := Sample{Emulator: processUsage(r.Emulator.PID()), Bench: processUsage(os.Getpid())}
	for _, w := range r.workers {
		if err := system.Call(ctx, http.MethodGet, "http://"+w.HTTP+"/metrics", "", s.Worker.add); err != nil {
			s.Worker = Usage{}
			break
		}
	}
	if r.Broker != nil {
		s.Broker = processUsage(r.Broker.PID())
	}
	return s
}

// readAccepted reads what the emulator accepted since it was last read.
func (r *run) readAccepted(ctx context.Context) error {
	return r.Admin.Each(ctx, r.audited, func(s emulator.Sent) {
		r.audited++
		r.book.Accepted(s.OutID)
	})
}

// lookUp reads the records of the jobs whose final result did not arrive: announcements
// may get lost, records may not.
func (r *run) lookUp(ctx context.Context) {
	bucket, err := r.JS.KeyValue(ctx, r.Settings.Results.Bucket)
	if err != nil {
		return // those jobs count as lost
	}
	for _, i := range r.book.Open() {
		if entry, err := bucket.Get(ctx, r.book.ID(i)); err == nil {
			noteResult(r.book, entry.Value())
		}
	}
}
