package ratelimit

import (
	"context"
	"errors"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
)

// ErrUnavailable is wrapped by every error that says the bucket could not be
// used; whether a place was taken is then open. Calling again is safe.
var ErrUnavailable = errors.New("limits bucket unavailable")

// store is a bucket as the limiter uses it; [bucket.Bucket] says what its methods
// do.
type store interface {
	Get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	Swap(ctx context.Context, key string, value []byte, revision uint64) (next uint64, err error)
	Remove(ctx context.Context, key string) error
}

// failed words the error of a call.
func failed(ctx context.Context, call string, err error) error {
	return bucket.Failed(ctx, "ratelimit: "+call, ErrUnavailable, err)
}
