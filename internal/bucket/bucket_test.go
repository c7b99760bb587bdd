package bucket

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/passcode-worker/passcode-worker/internal/brokertest"
	"github.com/passcode-worker/passcode-worker/internal/retry"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const name = "things"

// onServer makes a bucket and opens it.
func onServer(t *testing.T, js jetstream.JetStream) (*Bucket, jetstream.KeyValue) {
	t.Helper()
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: name, TTL: time.Hour})
	require.NoError(t, err)
	b, err := Open(t.Context(), js, name)
	require.NoError(t, err)
	return b, kv
}

// holds checks a value and returns its revision.
func (b *Bucket) holds(t *testing.T, key, want string) uint64 {
	t.Helper()
	value, revision, err := b.Get(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, want, string(value))
	return revision
}

func TestOpen(t *testing.T) {
	t.Parallel()
	_, js := brokertest.Start(t)
	_, err := Open(t.Context(), js, name)
	require.ErrorIs(t, err, ErrMissing)
	require.EqualError(t, err, `there is no bucket "things"; it must be provisioned first`)

	b, _ := onServer(t, js)
	assert.Equal(t, time.Hour, b.TTL())
}

func TestSwap(t *testing.T) {
	t.Parallel()
	_, js := brokertest.Start(t)
	b, kv := onServer(t, js)
	swap := func(value string, revision uint64) (uint64, error) {
		return b.Swap(t.Context(), "a", []byte(value), revision)
	}
	for way, remove := range map[string]func() error{
		"ours":    func() error { return b.Remove(t.Context(), "a") },
		"deleted": func() error { return kv.Delete(t.Context(), "a") },
		"purged":  func() error { return kv.Purge(t.Context(), "a") },
	} {
		first, err := swap("first", b.holds(t, "a", ""))
		require.NoError(t, err, way)
		assert.Equal(t, first, b.holds(t, "a", "first"))
		for _, old := range []uint64{0, first - 1} {
			_, err = swap("second", old)
			require.ErrorIs(t, err, ErrConflict, way)
		}

		next, err := swap("second", first)
		require.NoError(t, err, way)
		assert.Greater(t, next, first)
		_, err = swap("third", first)
		require.ErrorIs(t, err, ErrConflict, way)
		b.holds(t, "a", "second")
		require.NoError(t, remove(), way)
	}
}

func TestRequestsThatNoRetryCanMend(t *testing.T) {
	t.Parallel()
	nc, js := brokertest.Start(t)
	b, _ := onServer(t, js)
	for want, step := range map[error]func(ctx context.Context) error{
		jetstream.ErrInvalidKey: func(ctx context.Context) error {
			_, err := b.Swap(ctx, "no key", nil, 0)
			return err
		},
		nats.ErrMaxPayload: func(ctx context.Context) error {
			_, err := b.Swap(ctx, "a", []byte(strings.Repeat("x", 2<<20)), 0)
			return err
		},
		jetstream.ErrConsumerNotFound: func(ctx context.Context) error {
			return Request(ctx, "look", func(ctx context.Context) error {
				_, err := js.Consumer(ctx, "KV_"+name, "nobody")
				return err
			})
		},
	} {
		require.ErrorIs(t, Retry(t.Context(), step), want)
	}
	nc.Close()
	err := Retry(t.Context(), func(ctx context.Context) error { return b.Remove(ctx, "a") })
	require.ErrorIs(t, err, nats.ErrConnectionClosed)
}

func TestBrokerAway(t *testing.T) {
	t.Parallel()
	h := brokertest.Server(t)
	_, js := h.Connect()
	b, _ := onServer(t, js)
	h.Stop()
	bound := errors.New("the caller's bound")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, bound)
	defer cancel()
	_, _, err := b.Get(ctx, "a")
	require.ErrorIs(t, err, bound)
	_, err = Open(ctx, js, name)
	require.ErrorIs(t, err, bound)
	require.NotErrorIs(t, err, ErrMissing)

	h.Restart()
	again, err := Open(t.Context(), js, name)
	require.NoError(t, err)
	again.holds(t, "a", "")
}

// seen is one call of a watch.
type seen struct {
	value    string
	revision uint64
}

func TestWatch(t *testing.T) {
	t.Parallel()
	_, js := brokertest.Start(t)
	b, _ := onServer(t, js)
	first, err := b.Swap(t.Context(), "a", []byte("first"), 0)
	require.NoError(t, err)

	enough := errors.New("seen enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	updates, ended := make(chan seen), make(chan error, 1)
	go func() {
		ended <- b.Watch(ctx, "a", func(value []byte, revision uint64) { updates <- seen{string(value), revision} })
	}()
	assert.Equal(t, seen{"first", first}, <-updates, "what is there at the start")
	_, err = b.Swap(t.Context(), "b", []byte("not watched"), 0)
	require.NoError(t, err)
	second, err := b.Swap(t.Context(), "a", []byte("second"), first)
	require.NoError(t, err)
	assert.Equal(t, seen{"second", second}, <-updates)
	require.NoError(t, b.Remove(t.Context(), "a"))
	assert.Empty(t, (<-updates).value)
	cancel(enough)
	require.ErrorIs(t, <-ended, enough)
}

// brokenWatch is a bucket whose watch can't be started, or ends at once.
type brokenWatch struct {
	jetstream.KeyValue
	jetstream.KeyWatcher
	hangs, late bool
}

func (w brokenWatch) Watch(ctx context.Context, _ string, _ ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	if w.hangs || w.late {
		<-ctx.Done()
	}
	if w.hangs {
		return nil, ctx.Err()
	}
	return w, nil
}

func (w brokenWatch) Updates() <-chan jetstream.KeyValueEntry {
	closed := make(chan jetstream.KeyValueEntry)
	close(closed)
	return closed
}

func (w brokenWatch) Stop() error { return nil }

func TestWatchThatDoesNotStart(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		watch brokenWatch
		want  error
		after time.Duration
	}{
		"never starts":       {brokenWatch{hangs: true}, retry.ErrGaveUp, Patience},
		"starts at the last": {brokenWatch{late: true}, retry.ErrGaveUp, Patience},
		"ends at once":       {brokenWatch{}, errWatchEnded, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				err := (&Bucket{kv: test.watch}).Watch(t.Context(), "a", func([]byte, uint64) { t.Error("called") })
				require.ErrorIs(t, err, test.want)
				assert.Equal(t, test.after, time.Since(began))
			})
		})
	}
}
