package benchcmd

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/lab/bench"
)

const (
	// benchWarmUpMost is how many jobs warm the workers up at most, and
	// benchWarmUpBound how long that may take.
	benchWarmUpMost  = 10_000
	benchWarmUpBound = 2 * time.Minute
)

// benchWarmUp is how many jobs warm the workers up: as many as have all of their
// places taken at once, or two seconds' worth where aliyun.max_qps allows fewer.
func benchWarmUp(cfg config.Config, workers int) int {
	n := min(benchWindow*cfg.Worker.Concurrency*workers, benchWarmUpMost)
	if qps := cfg.Aliyun.MaxQPS; qps > 0 {
		n = min(n, 2*qps*workers)
	}
	return n
}

// warmUp has the workers make as many calls at a time as they may, before anything
// is measured. Some of what that takes a process keeps for ever, such as the room
// of its goroutines. In a run at a rate that it keeps up with easily it would need
// so much when the machine first stumbles, and it would look like a leak.
func (s *benchSystem) warmUp(n int) error {
	ctx, cancel := context.WithTimeoutCause(s.e.Stop, benchWarmUpBound,
		fmt.Errorf("the warm-up did not end within %s", show.Roughly(benchWarmUpBound)))
	defer cancel()
	requests := bench.Requests{Run: "0", WarmUp: true}
	book := bench.NewBook(time.Now())
	drive := bench.NewDrive(bench.Load{
		Jobs: n, Window: n,
		Publish: func(ctx context.Context, i int) error { return s.publish(ctx, requests.Job(i)) },
	}, book)
	left, done := n, make(chan struct{})
	deaf, err := s.listen(func(r benchResult) {
		if i, ours := requests.Index(r.RequestID); !ours || !r.Final || !book.Ended(i, r.Status, time.Now()) {
			return
		}
		drive.Freed()
		if left--; left == 0 {
			close(done)
		}
	})
	if err != nil {
		return err
	}
	defer deaf()
	if err := drive.Run(ctx); err != nil {
		return err
	}
	if err := s.until(ctx, done); err != nil {
		return err
	}
	// The emulator forgets what it accepted until now.
	return s.ask(ctx, http.MethodPost, "http://"+s.endpoint+"/_/reset", func(io.Reader) error { return nil })
}

// until waits for done, as long as every process runs.
func (s *benchSystem) until(ctx context.Context, done <-chan struct{}) error {
	soon := time.NewTicker(benchSoon)
	defer soon.Stop()
	for {
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-soon.C:
			if err := s.died(); err != nil {
				return err
			}
		}
	}
}
