package ledger

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/internal/retry"
)

// store is what the ledger needs of a bucket. Its errors are those of jetstream:
// ErrKeyExists from create, ErrKeyRevisionMismatch from update, ErrKeyNotFound
// from get and history. Any other error leaves open whether a write happened.
type store interface {
	create(ctx context.Context, key string, value []byte) (revision uint64, err error)
	update(ctx context.Context, key string, value []byte, revision uint64) (next uint64, err error)
	get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	history(ctx context.Context, key string) (values [][]byte, err error)
	// since is the time of the oldest value, or of the bucket's making where none
	// was ever dropped.
	since(ctx context.Context) (time.Time, error)
	// announce does what the server does with every value that it stores.
	announce(key string, value []byte) error
}

// bucketStore is a store on a key-value bucket.
//
// A lost compare-and-swap has two error codes, 10071 and on replicated streams
// 10164. The sentinel ErrKeyRevisionMismatch covers both; the codes themselves are
// never looked at.
//
// The bucket is asked through its leader alone, see [bucket.Newest]: that another
// job's request is under way, say, ends a repeated job without a write that an old
// reading would make fail. The client's Create is not used, as it asks any replica.
type bucketStore struct {
	js jetstream.JetStream
	kv jetstream.KeyValue
	nc *nats.Conn
	// subject is below which the server republishes the bucket's records; empty
	// where it doesn't.
	subject string
}

func (s bucketStore) create(ctx context.Context, key string, value []byte) (uint64, error) {
	revision, err := s.kv.Update(ctx, key, value, 0)
	if !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return revision, err
	}
	// There is a record, or the mark of a deletion, which is as good as none.
	_, mark, err := s.get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) && mark != 0 {
		revision, err = s.kv.Update(ctx, key, value, mark)
		if !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			return revision, err
		}
	}
	return 0, jetstream.ErrKeyExists
}

func (s bucketStore) update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return s.kv.Update(ctx, key, value, revision)
}

func (s bucketStore) get(ctx context.Context, key string) ([]byte, uint64, error) {
	return bucket.Newest(ctx, s.nc, s.kv.Bucket(), key)
}

func (s bucketStore) since(ctx context.Context) (time.Time, error) {
	status, err := s.kv.Status(ctx)
	if err != nil {
		return time.Time{}, err
	}
	stream, ok := status.(*jetstream.KeyValueBucketStatus)
	if !ok {
		return time.Time{}, fmt.Errorf("bucket %s is no stream", s.kv.Bucket())
	}
	info := stream.StreamInfo()
	switch {
	case info.State.FirstSeq <= 1:
		return info.Created, nil
	case info.State.Msgs == 0:
		return info.TimeStamp, nil
	default:
		return info.State.FirstTime, nil
	}
}

func (s bucketStore) announce(key string, value []byte) error {
	if s.subject == "" {
		return nil
	}
	return s.nc.Publish(s.subject+key, value)
}

// republished returns the subject below which a bucket's records are republished,
// with its last dot.
func republished(ctx context.Context, kv jetstream.KeyValue) (string, error) {
	status, err := kv.Status(ctx)
	if err != nil {
		return "", err
	}
	stream, ok := status.(*jetstream.KeyValueBucketStatus)
	if !ok || stream.StreamInfo().Config.RePublish == nil {
		return "", nil
	}
	subject, _ := strings.CutSuffix(stream.StreamInfo().Config.RePublish.Destination, ">")
	return subject, nil
}

// maxHistory is the most values that a bucket may keep of a key.
const maxHistory = 64

// history reads the values in one request, from any replica. The client's own
// History makes a consumer for it, which a user would need the right to.
func (s bucketStore) history(ctx context.Context, key string) ([][]byte, error) {
	messages, err := jetstreamext.GetBatch(ctx, s.js, "KV_"+s.kv.Bucket(), maxHistory,
		jetstreamext.GetBatchSeq(1), jetstreamext.GetBatchSubject("$KV."+s.kv.Bucket()+"."+key))
	if err != nil {
		return nil, err
	}
	var values [][]byte
	complete := false
	for msg, err := range messages {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			return nil, jetstream.ErrKeyNotFound
		}
		if err != nil {
			return nil, err
		}
		complete = msg.Header.Get("Nats-Num-Pending") == "0"
		if msg.Header.Get("KV-Operation") == "" { // otherwise the mark of a deletion
			values = append(values, msg.Data)
		}
	}
	if !complete { // the iterator ends without a word when the time is over
		return nil, retry.ErrNoAnswer
	}
	return values, nil
}
