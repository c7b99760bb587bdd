package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// publishers is how many jobs are being published at once. Each waits for the
// stream's word that it has the job, about a millisecond.
const publishers = 64

// Load is what a run asks of the system.
type Load struct {
	// Jobs is how many jobs to publish at most.
	Jobs int
	// For is how long to publish; 0: until all jobs are.
	For time.Duration
	// Rate is how many jobs to publish a second, whatever becomes of them; 0: as
	// fast as they are done.
	Rate float64
	// Window is how many jobs may be in progress at once where there is no rate.
	Window int
	// Publish has the stream take the job with that index.
	Publish func(ctx context.Context, i int) error
}

// Drive publishes a load and notes it in the book.
type Drive struct {
	load  Load
	book  *Book
	slots chan struct{} // of jobs in progress
	taken atomic.Int64
}

// NewDrive returns a drive that has not begun.
func NewDrive(load Load, book *Book) *Drive {
	return &Drive{load: load, book: book, slots: make(chan struct{}, load.Window)}
}

// Freed says that a job is done, so that another may follow.
func (d *Drive) Freed() {
	select {
	case <-d.slots:
	default: // at a rate there are no slots
	}
}

// Run publishes until all jobs are published, the time is up or ctx ends. The
// first job that can't be published ends it with an error.
func (d *Drive) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	publishing, cancel := ctx, context.CancelFunc(func() {})
	if d.load.For > 0 {
		publishing, cancel = context.WithTimeout(ctx, d.load.For)
	}
	defer cancel()
	failed := make(chan error, publishers)
	began := time.Now()
	var running sync.WaitGroup
	for range min(publishers, d.load.Jobs) {
		running.Go(func() {
			for {
				i, due, ok := d.next(publishing, began)
				if !ok {
					return
				}
				d.book.Publishing(i, due)
				// A publish that was begun is seen through when the time is up.
				if err := d.load.Publish(context.WithoutCancel(ctx), i); err != nil {
					d.book.NotPublished(i)
					failed <- fmt.Errorf("job %d of the run: %w", i, err)
					stop()
					return
				}
			}
		})
	}
	running.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// next waits until another job is to be published, and returns its index and
// when that was. ok is false where there is none.
func (d *Drive) next(ctx context.Context, began time.Time) (i int, due time.Time, ok bool) {
	if d.load.Rate == 0 {
		select {
		case d.slots <- struct{}{}:
		case <-ctx.Done():
			return 0, time.Time{}, false
		}
	}
	i = int(d.taken.Add(1) - 1)
	if i >= d.load.Jobs || ctx.Err() != nil {
		d.Freed() // or whoever waits for the slot would wait for ever
		return 0, time.Time{}, false
	}
	if d.load.Rate == 0 {
		return i, time.Now(), true
	}
	due = began.Add(time.Duration(float64(i) / d.load.Rate * float64(time.Second)))
	wait := time.NewTimer(time.Until(due))
	defer wait.Stop()
	select {
	case <-wait.C:
		return i, due, true
	case <-ctx.Done():
		return 0, time.Time{}, false
	}
}
