package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// Publish stores a job in the jobs stream. The request id is the message id, so the stream drops a repeated publish;
// duplicate is true then.
func Publish(ctx context.Context, js jetstream.JetStream, subject string, job passcode.Job) (duplicate bool, err error) {
	data, err := job.Encode()
	if err != nil {
		return false, err
	}
	ack, err := js.Publish(ctx, subject, data, jetstream.WithMsgID(job.RequestID))
	// JSStreamStoreFailedF of nats-server's server/errors.json. Only the description tells that it is because of a limit.
	refused, _ := errors.AsType[*jetstream.APIError](err)
	switch {
	case refused != nil && refused.ErrorCode == 10077 && strings.HasPrefix(refused.Description, "maximum "):
		return false, fmt.Errorf("publish job on %s: the stream is full, and did not take the job: %w", subject, err)
	case err != nil:
		return false, fmt.Errorf("publish job on %s: %w", subject, err)
	}
	return ack.Duplicate, nil
}

// Announce publishes the result on a plain subject. An ack sent afterwards on the same connection reaches the server
// after it.
func (s *Source) Announce(subject string, result passcode.Result) error {
	data, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	if err := s.js.Conn().Publish(subject, data); err != nil {
		return fmt.Errorf("publish result: %w", err)
	}
	return nil
}
