package account

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
)

// key is where the document lies in the bucket.
const key = "account"

// claimPatience bounds the claim of a probe, for which a job is waiting. Every
// other call has [bucket.Patience].
const claimPatience = 2 * time.Second

// ErrUnavailable is wrapped by every error that says the broker could not be
// asked; whether the change was made is then open.
var ErrUnavailable = errors.New("account gate unavailable")

// store keeps the document; [bucket.Bucket] says what its methods do.
type store interface {
	Get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	Swap(ctx context.Context, key string, value []byte, revision uint64) (next uint64, err error)
	Watch(ctx context.Context, key string, on func(value []byte, revision uint64)) error
	TTL() time.Duration
}

// queue is the consumer on the server.
type queue interface {
	// paused returns how much of a pause is left, 0 for none, and the server's time.
	paused(ctx context.Context) (left time.Duration, now time.Time, err error)
	pauseUntil(ctx context.Context, until time.Time) error
	resume(ctx context.Context) error
}

// serverQueue is the consumer of a JetStream server; 2.11 is the first that can
// pause it.
type serverQueue struct {
	js               jetstream.JetStream
	stream, consumer string
}

func (q serverQueue) paused(ctx context.Context) (left time.Duration, now time.Time, err error) {
	err = bucket.Request(ctx, "look at the consumer", func(ctx context.Context) error {
		consumer, err := q.js.Consumer(ctx, q.stream, q.consumer)
		if err != nil {
			return err
		}
		info := consumer.CachedInfo() // read just now, by Consumer
		now = info.TimeStamp
		if info.Paused {
			left = info.PauseRemaining
		}
		return nil
	})
	return left, now, err
}

func (q serverQueue) pauseUntil(ctx context.Context, until time.Time) error {
	return bucket.Request(ctx, "pause the consumer", func(ctx context.Context) error {
		_, err := q.js.PauseConsumer(ctx, q.stream, q.consumer, until)
		return err
	})
}

func (q serverQueue) resume(ctx context.Context) error {
	return bucket.Request(ctx, "resume the consumer", func(ctx context.Context) error {
		_, err := q.js.ResumeConsumer(ctx, q.stream, q.consumer)
		return err
	})
}

// failed words the error of a call.
func failed(ctx context.Context, call string, err error) error {
	return bucket.Failed(ctx, "gate: "+call, ErrUnavailable, err)
}
