package ratelimit

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/buckettest"
	"github.com/passcode-worker/passcode-worker/test/fake"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// epoch is where the tests' clocks start.
var epoch = fake.NewClock().Now()

var (
	phoneA = passcode.NewPhone("+8613812345678")
	phoneB = passcode.NewPhone("+8613912345678")
)

func rules(t testing.TB, texts ...string) []domain.Rule {
	t.Helper()
	list := make([]domain.Rule, len(texts))
	for i, text := range texts {
		rule, err := domain.ParseRule(text)
		require.NoError(t, err)
		list[i] = rule
	}
	return list
}

const testBucket = "limits"

// makeBucket makes the limits bucket as provisioning would.
func makeBucket(t testing.TB, js jetstream.JetStream, ttl time.Duration) jetstream.KeyValue {
	t.Helper()
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: testBucket, TTL: ttl})
	require.NoError(t, err)
	return kv
}

func openOn(t testing.TB, js jetstream.JetStream, list []domain.Rule, now func() time.Time) *Limiter {
	t.Helper()
	l, err := Open(t.Context(), js, Options{Bucket: testBucket, Rules: list, Now: now})
	require.NoError(t, err)
	return l
}

// faked returns a limiter on a bucket in memory.
func faked(t require.TestingT, list []domain.Rule, now func() time.Time) (*Limiter, *buckettest.Fake) {
	f := buckettest.New(now)
	l, err := New(context.Background(), f.Bucket(), Options{Rules: list, Now: now})
	require.NoError(t, err)
	l.keys.refresh = KeyRefresh // so that the tests' requests are those for phones
	return l, f
}

// reserves makes a reservation that must be allowed.
func reserves(t require.TestingT, l *Limiter, id string) {
	got, err := l.Reserve(context.Background(), phoneA, id, 1)
	require.NoError(t, err)
	require.Equal(t, domain.Reservation{Allowed: true}, got, id)
}
