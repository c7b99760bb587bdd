package consumer

import (
	"context"
	"sync"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// leases are those of the jobs that are being handled, by stream sequence. Each is renewed, because otherwise the
// server would deliver the job to another worker during a slow call.
type leases struct {
	mu   sync.Mutex
	held map[uint64]*lease
}

type lease struct {
	delivery domain.Delivery
	renewed  time.Time
}

// hold keeps the delivery's lease alive until release is called. It returns false if this worker is handling the
// job already. Its lease may have run out because the broker could not be reached.
func (c *Consumer) hold(d domain.Delivery) (release func(), ok bool) {
	l, seq := &c.leases, d.Origin().Seq
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.held[seq]; ok {
		return nil, false
	}
	l.held[seq] = &lease{delivery: d, renewed: c.Now()}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.held, seq)
	}, true
}

// renewLeases renews them until ctx ends.
func (c *Consumer) renewLeases(ctx context.Context) {
	interval := c.AckWait / 3 // one renewal may get lost
	// Looking four times an interval keeps each renewal close to its time.
	ticker := time.NewTicker(max(interval/4, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, d := range c.leases.due(c.Now(), interval) {
			if err := d.Extend(); err != nil {
				c.Logger.Debug("lease not renewed", "stream_seq", d.Origin().Seq, "error", err)
			}
		}
	}
}

// due returns the jobs whose leases are to be renewed now.
func (l *leases) due(now time.Time, interval time.Duration) (due []domain.Delivery) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, held := range l.held {
		if now.Sub(held.renewed) >= interval {
			due = append(due, held.delivery)
			held.renewed = now
		}
	}
	return due
}
