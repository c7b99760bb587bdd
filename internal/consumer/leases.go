package consumer

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

// leases renews the lease of every job that is being handled. Otherwise the server would deliver it to another
// worker during a slow call.
type leases struct {
	interval time.Duration
	now      func() time.Time
	log      *slog.Logger

	mu   sync.Mutex
	held map[uint64]*lease // by stream sequence
}

type lease struct {
	delivery domain.Delivery
	renewed  time.Time
}

func newLeases(ackWait time.Duration, now func() time.Time, log *slog.Logger) *leases {
	// One renewal may get lost.
	return &leases{interval: ackWait / 3, now: now, log: log, held: map[uint64]*lease{}}
}

// hold keeps the delivery's lease alive until release is called. It returns false if this worker is handling the
// job already. Its lease may have run out because the broker could not be reached.
func (l *leases) hold(d domain.Delivery) (release func(), ok bool) {
	seq := d.Origin().Seq
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.held[seq]; ok {
		return nil, false
	}
	l.held[seq] = &lease{delivery: d, renewed: l.now()}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.held, seq)
	}, true
}

// run renews leases until ctx ends.
func (l *leases) run(ctx context.Context) {
	// Looking four times an interval keeps each renewal close to its time.
	ticker := time.NewTicker(max(l.interval/4, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			l.renew()
		}
	}
}

func (l *leases) renew() {
	now := l.now()
	l.mu.Lock()
	var due []domain.Delivery
	for _, held := range l.held {
		if now.Sub(held.renewed) >= l.interval {
			due = append(due, held.delivery)
			held.renewed = now
		}
	}
	l.mu.Unlock()
	for _, d := range due {
		if err := d.Extend(); err != nil {
			l.log.Debug("lease not renewed", "stream_seq", d.Origin().Seq, "error", err)
		}
	}
}
