package bench

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"sync"
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
	began := time.Now()
	busy, failed := make(chan struct{}, publishers), make(chan error, publishers)
	var running sync.WaitGroup
	for i := range d.load.Jobs {
		if take(publishing, busy) != nil {
			break
		}
		due, err := d.wait(publishing, i, began)
		if err != nil {
			break // the time is up, or a publish has failed
		}
		d.book.Publishing(i, due)
		running.Go(func() {
			// A publish that was begun is seen through when the time is up.
			if err := d.load.Publish(context.WithoutCancel(ctx), i); err != nil {
				d.book.NotPublished(i)
				failed <- fmt.Errorf("job %d of the run: %w", i, err)
				stop()
			}
			<-busy
		})
	}
	running.Wait()
	close(failed)
	return <-failed // nil if there is none
}

// wait waits until a job is to be published, and returns when that was.
func (d *Drive) wait(ctx context.Context, i int, began time.Time) (time.Time, error) {
	if d.load.Rate == 0 {
		err := take(ctx, d.slots)
		return time.Now(), err
	}
	due := began.Add(time.Duration(float64(i) / d.load.Rate * float64(time.Second)))
	select {
	case <-time.After(time.Until(due)):
	case <-ctx.Done():
	}
	return due, ctx.Err()
}

func take(ctx context.Context, slots chan<- struct{}) error {
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
	}
	return ctx.Err()
}
