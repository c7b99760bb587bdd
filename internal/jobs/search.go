package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/retry"
)

const (
	searchTimeout = 30 * time.Second // of one search
	searchBatch   = 1000             // how many jobs it reads
)

// search finds jobs that ran out of deliveries without an advisory. The server doesn't list them. They are in the
// stream, were delivered, and no ack is waited for. Some are at or below the acknowledgement floor. But once the
// server has given up on a job, the floor stays behind until nothing is outstanding, which under a steady load never
// comes. So the jobs above it are brought as suspects.
func (w *Watch) search(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, searchTimeout, fmt.Errorf("no end within %s", searchTimeout))
	defer cancel()
	consumer, err := w.JS.Consumer(ctx, w.Stream, w.Consumer)
	if err != nil {
		return err
	}
	info := consumer.CachedInfo()
	floor := info.AckFloor.Stream
	if info.NumAckPending == 0 {
		floor = max(floor, info.Delivered.Stream)
	}
	// A job that could not be delivered meanwhile is no suspect.
	suspicious := w.flowed && !info.Paused
	w.flowed = !info.Paused

	stream, err := w.JS.Stream(ctx, w.Stream)
	if err != nil {
		return err
	}
	state := stream.CachedInfo().State
	for seq, n := state.FirstSeq, 0; state.Msgs > 0 && seq <= info.Delivered.Stream && n < searchBatch; seq++ {
		msg, err := stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(w.Subject)) // that or the next
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		seq, n = msg.Sequence, n+1
		why, due := domain.Undeliverable{}, time.Now().Add(w.Again)
		if seq > floor {
			if !suspicious || seq > info.Delivered.Stream || time.Since(msg.Time) < w.Sweep {
				return nil // all that follow are younger still
			}
			why.Suspected, due = true, time.Now()
		}
		if _, known := w.open[seq]; !known {
			w.open[seq] = openCase{why: why, due: due}
		}
	}
	return nil
}

// storedJob is a job that was read from the stream.
type storedJob struct {
	w     *Watch
	ctx   context.Context // of its disposal
	msg   *jetstream.RawStreamMsg
	again time.Duration // when to look at it again; 0 once it is removed
}

func (j *storedJob) Body() []byte              { return j.msg.Data }
func (j *storedJob) Header(name string) string { return j.msg.Header.Get(name) }
func (j *storedJob) Extend() error             { return nil }
func (j *storedJob) Term(string) error         { return j.Ack() }
func (j *storedJob) Origin() domain.Origin {
	return domain.Origin{Stream: j.w.Stream, Seq: j.msg.Sequence, Subject: j.msg.Subject, QueuedAt: j.msg.Time}
}

// Ack takes the job out of the stream, if it is still there.
func (j *storedJob) Ack() error {
	err := retry.Do(j.ctx, func(ctx context.Context) error {
		stream, err := j.w.JS.Stream(ctx, j.w.Stream)
		if err != nil {
			return err
		}
		return stream.DeleteMsg(ctx, j.msg.Sequence)
	})
	if err != nil {
		if _, gone := readJob(j.ctx, j.w.JS, j.w.Stream, j.msg.Sequence); !errors.Is(gone, jetstream.ErrMsgNotFound) {
			return fmt.Errorf("remove job from stream %s: %w", j.w.Stream, err)
		}
	}
	j.again = 0
	return nil
}

func (j *storedJob) Nak(delay time.Duration) error {
	j.again = max(j.again, delay)
	return nil
}

func readJob(ctx context.Context, js jetstream.JetStream, from string, seq uint64) (*jetstream.RawStreamMsg, error) {
	return retry.Value(ctx, func(ctx context.Context) (*jetstream.RawStreamMsg, error) {
		stream, err := js.Stream(ctx, from)
		if err != nil {
			return nil, err
		}
		return stream.GetMsg(ctx, seq)
	})
}
