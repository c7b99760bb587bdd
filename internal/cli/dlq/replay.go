package dlq

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/deadletter"
)

const (
	// maxReplayers is how many dead letters are in hand at once.
	maxReplayers = 32
	// replaysEach is how many replays a second one of them makes at least, so
	// that at a low rate none is read long before its permit.
	replaysEach = 10
	// catchUp is how much of its pace a replay that fell behind makes up for at once.
	catchUp = 100 * time.Millisecond
)

type replayCmd struct {
	choiceFlags
	DryRun bool          `help:"Change nothing; say for each what would happen, and why."`
	Rate   command.Pace  `placeholder:"N/s" help:"Publish at most so many: a count and a unit, such as 500/s, 30/m or 1000/h; 100/s where left out." default:"100/s"`
	TTL    time.Duration `name:"ttl" placeholder:"D" help:"Let each passcode live at least this long from now, also one that has expired."`
	Follow bool          `name:"follow-results" help:"Wait for what becomes of the replayed requests."`
	Wait   time.Duration `help:"How long to wait with --follow-results after the last replay." default:"2m"`
	JSON   bool          `name:"json" help:"One JSON object a line for each dead letter, and with --follow-results for each final result."`
}

func (replayCmd) Help() string {
	return `Replays the oldest first. A request is opened again only while it is dead-lettered, unknown or without a record: what was sent is never sent again, and the same replay run twice, or by two people at once, sends once. A request that may have been sent is looked up at Aliyun first. Ctrl-C stops after those in hand; run it again to go on.

Exit status 1 where something was refused or failed, or a followed request was not sent.

  worker dlq replay --reason config --dry-run
  worker dlq replay --reason config --rate 500/s
  worker dlq replay --id 01JD3V7S4N --ttl 5m --follow-results`
}

func (r *replayCmd) Run(e *command.Env) error {
	switch {
	case r.TTL < 0 || r.Wait <= 0:
		return command.Usagef("--ttl and --wait: must be longer than nothing")
	case r.DryRun && r.Follow:
		return command.Usagef("--follow-results: a dry run replays nothing to follow")
	}
	s, err := open(e, r.filter)
	if err != nil {
		return err
	}
	replayer, err := s.replayer(r.TTL, r.DryRun)
	if err != nil {
		return err
	}
	// What dies again meanwhile is not replayed again by the same run.
	picked, _, err := s.sequences()
	if err != nil || len(picked) == 0 {
		return err
	}
	report, began := newReplayReport(e, r, len(picked)), time.Now()
	failure := paced(e.Stop, r.Rate, picked, func(stopping context.Context, seq uint64, permit permit) deadletter.Step {
		return replayer.Replay(e.Force, stopping, seq, permit)
	}, report.add)
	ended := report.end(time.Since(began))
	if failure != nil && e.Stop.Err() == nil {
		e.Note("worker: %v", failure)
	}
	switch {
	case failure != nil || e.Stop.Err() != nil:
		e.Note("stopped: %d of %d done; run it again to go on", report.done, len(picked))
		return command.ErrSaid
	case !r.Follow:
		return ended
	}
	return errors.Join(ended, report.follow(replayer.Records, r.Wait))
}

// permit waits until a job may be published.
type permit func(context.Context) error

// paced does one step for each sequence. Those that ask for a permit keep the pace.
func paced(stop context.Context, pace command.Pace, picked []uint64,
	do func(stopping context.Context, seq uint64, permit permit) deadletter.Step, tell func(deadletter.Step) error,
) error {
	stopping, cancel := context.WithCancel(stop)
	defer cancel()
	limiter := rate.NewLimiter(rate.Limit(pace), max(int(float64(pace)*catchUp.Seconds()), 1))
	limiter.AllowN(time.Now(), limiter.Burst()-1) // it is for catching up, not for the start
	workers := min(max(int(float64(pace)/replaysEach), 1), maxReplayers)

	var failure error
	for one := range inOrder(stopping, workers, picked, func(seq uint64) deadletter.Step {
		return do(stopping, seq, limiter.Wait)
	}) {
		if stopping.Err() != nil && (errors.Is(one.Err, context.Canceled) || errors.Is(one.Err, context.Cause(stopping))) {
			continue // nothing was begun; the cause names the signal, and is no context.Canceled
		}
		if err := tell(one); err != nil {
			return err
		}
		if one.Err != nil && failure == nil {
			failure = one.Err
			cancel()
		}
	}
	return failure
}

// inOrder does the same with each value, several at a time, and gives what came of it in the values' order. When
// stop ends no more are begun, and those in hand are still given.
func inOrder[T, R any](stop context.Context, atOnce int, values []T, do func(T) R) iter.Seq[R] {
	return func(yield func(R) bool) {
		for some := range slices.Chunk(values, atOnce) {
			if stop.Err() != nil {
				return
			}
			results := make([]R, len(some))
			var wg sync.WaitGroup
			for i, value := range some {
				wg.Go(func() { results[i] = do(value) })
			}
			wg.Wait()
			for _, result := range results {
				if !yield(result) {
					return
				}
			}
		}
	}
}
