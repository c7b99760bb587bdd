package jobs

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// Waits reports whether the job of that sequence is in the stream, and is one of the
// request: a stream that was deleted and made again has other jobs in the same places.
// The server may have any replica answer, so that a job which came or went a moment
// ago may be told of as it was before.
func (s *Source) Waits(ctx context.Context, seq uint64, requestID string) (bool, error) {
	var msg *jetstream.RawStreamMsg
	err := retry.Do(ctx, func(ctx context.Context) error {
		stream, err := s.js.Stream(ctx, s.opts.Stream)
		if err != nil {
			return err
		}
		msg, err = stream.GetMsg(ctx, seq)
		return err
	})
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for job %d in stream %s: %w", seq, s.opts.Stream, err)
	}
	job, _ := passcode.Decode(msg.Data) // what can be read of it
	return job.RequestID == requestID, nil
}
