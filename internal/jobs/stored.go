package jobs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

func (w *Watch) read(ctx context.Context, seq uint64) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, openTimeout, fmt.Errorf("no answer within %s", openTimeout))
	defer cancel()
	stream, err := w.js.Stream(ctx, w.o.Stream)
	if err != nil {
		return nil, err
	}
	return stream.GetMsg(ctx, seq)
}

// remove takes a job out of the stream. One that is gone already is no error.
func (w *Watch) remove(ctx context.Context, seq uint64) error {
	bounded, cancel := context.WithTimeoutCause(ctx, openTimeout, fmt.Errorf("no answer within %s", openTimeout))
	defer cancel()
	stream, err := w.js.Stream(bounded, w.o.Stream)
	if err != nil {
		return err
	}
	err = stream.DeleteMsg(bounded, seq)
	if err == nil {
		return nil
	}
	if _, gone := w.read(ctx, seq); errors.Is(gone, jetstream.ErrMsgNotFound) {
		return nil
	}
	return fmt.Errorf("remove job from stream %s: %w", w.o.Stream, err)
}

// storedJob is a job that is not delivered but read from the stream.
type storedJob struct {
	header nats.Header
	body   []byte
	origin domain.Origin
	remove func() error
	// again is when to look at it again; 0 once it is removed.
	again time.Duration
}

func (j *storedJob) Body() []byte              { return j.body }
func (j *storedJob) Header(name string) string { return j.header.Get(name) }
func (j *storedJob) Origin() domain.Origin     { return j.origin }
func (j *storedJob) Extend() error             { return nil }
func (j *storedJob) Term(string) error         { return j.Ack() }

func (j *storedJob) Ack() error {
	if err := j.remove(); err != nil {
		return err
	}
	j.again = 0
	return nil
}

func (j *storedJob) Nak(delay time.Duration) error {
	j.again = max(j.again, delay)
	return nil
}
