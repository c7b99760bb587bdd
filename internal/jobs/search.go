package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

const (
	// searchTimeout bounds one search, and searchBatch how many jobs it takes up.
	searchTimeout = 30 * time.Second
	searchBatch   = 1000
)

// search finds what ran out of deliveries unheard. The server doesn't list such
// jobs. They are those in the stream that it has delivered and for which it waits
// for nobody's answer, of which its acknowledgement floor shows a part: what is
// at or below it is outstanding no more. The floor stays behind, however, once
// the server has given up on a job, until nothing is outstanding; under a steady
// load that never comes. So what stands above it is brought as a suspect.
func (w *Watch) search(ctx context.Context) {
	if err := w.trySearch(ctx); err != nil && ctx.Err() == nil {
		w.o.Logger.Warn("the stream can't be searched for abandoned jobs", "error", err)
	}
}

func (w *Watch) trySearch(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, searchTimeout, fmt.Errorf("no end within %s", searchTimeout))
	defer cancel()
	consumer, err := w.js.Consumer(ctx, w.o.Stream, w.o.Consumer)
	if err != nil {
		return err
	}
	info := consumer.CachedInfo()
	floor := info.AckFloor.Stream
	if info.NumAckPending == 0 {
		floor = max(floor, info.Delivered.Stream)
	}
	// Nothing is a suspect that had no chance to be delivered meanwhile.
	suspicious := w.flowed && !info.Paused
	w.flowed = !info.Paused

	stream, err := w.js.Stream(ctx, w.o.Stream)
	if err != nil {
		return err
	}
	state := stream.CachedInfo().State
	for seq, n := state.FirstSeq, 0; state.Msgs > 0 && seq <= info.Delivered.Stream && n < searchBatch; seq++ {
		msg, err := stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(w.o.Subject)) // that or the next
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		seq, n = msg.Sequence, n+1
		why, due := domain.Undeliverable{}, time.Now().Add(w.o.Again)
		if seq > floor {
			if !suspicious || seq > info.Delivered.Stream || time.Since(msg.Time) < w.o.Sweep {
				return nil // and all that come after it are younger still
			}
			why.Suspected, due = true, time.Now()
		}
		if _, known := w.open[seq]; !known {
			w.open[seq] = openCase{why: why, due: due}
		}
	}
	return nil
}
