package bench

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// publishers is how many jobs are being published at once. Each waits about a
// millisecond for the stream's acknowledgement.
const publishers = 64

// Load is what a run asks of the system.
type Load struct {
	Jobs   int           // at most
	For    time.Duration // how long to publish; 0: until all jobs are
	Rate   float64       // jobs a second, whatever becomes of them; 0: as fast as they are done
	Window int           // jobs in progress at once if there is no rate
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

// Run publishes until all jobs are published, the time is up, ctx ends or a publish fails.
func (d *Drive) Run(ctx context.Context) error {
	publishing, stop := context.WithTimeout(ctx, cmp.Or(d.load.For, math.MaxInt64))
	defer stop()
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
	close(failed)
	return <-failed // nil if there is none
}

// next waits until another job is to be published, and returns its index and when that
// was. ok is false if there is none.
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
	select {
	case <-time.After(time.Until(due)):
		return i, due, true
	case <-ctx.Done():
		return 0, time.Time{}, false
	}
}
