package ledger

import (
	"context"

	"github.com/nats-io/nats.go/jetstream"
)

// store is what the ledger needs of a bucket. Its errors are those of jetstream:
// ErrKeyExists from create, ErrKeyRevisionMismatch from update, ErrKeyNotFound
// from get and history. Any other error leaves open whether a write happened.
type store interface {
	create(ctx context.Context, key string, value []byte) (revision uint64, err error)
	update(ctx context.Context, key string, value []byte, revision uint64) (next uint64, err error)
	get(ctx context.Context, key string) (value []byte, revision uint64, err error)
	history(ctx context.Context, key string) (values [][]byte, err error)
}

// bucketStore is a store on a key-value bucket.
//
// A lost compare-and-swap has two error codes, 10071 and on replicated streams
// 10164. The sentinels ErrKeyExists and ErrKeyRevisionMismatch cover both; the
// codes themselves are never looked at.
type bucketStore struct{ kv jetstream.KeyValue }

func (s bucketStore) create(ctx context.Context, key string, value []byte) (uint64, error) {
	return s.kv.Create(ctx, key, value)
}

func (s bucketStore) update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	return s.kv.Update(ctx, key, value, revision)
}

func (s bucketStore) get(ctx context.Context, key string) ([]byte, uint64, error) {
	entry, err := s.kv.Get(ctx, key)
	if err != nil {
		return nil, 0, err
	}
	return entry.Value(), entry.Revision(), nil
}

func (s bucketStore) history(ctx context.Context, key string) ([][]byte, error) {
	entries, err := s.kv.History(ctx, key)
	if err != nil {
		return nil, err
	}
	var values [][]byte
	for _, entry := range entries {
		if entry.Operation() == jetstream.KeyValuePut {
			values = append(values, entry.Value())
		}
	}
	return values, nil
}
