package ratelimit

import (
	"bytes"
	"context"
	"encoding/hex"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
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
	got, err := l.Reserve(context.Background(), phoneA, id, 1, false)
	require.NoError(t, err)
	require.Equal(t, domain.Reservation{Allowed: true}, got, id)
}

func ring(f *buckettest.Fake, c *fake.Clock) *keyring {
	k := newKeyring(f.Bucket(), passcode.Secret{}, c.Now)
	k.refresh = KeyRefresh
	return k
}

// keyOf is the key that a replica uses now.
func keyOf(t *testing.T, k *keyring) string {
	t.Helper()
	key, err := k.current(t.Context())
	require.NoError(t, err)
	return string(key)
}

func TestRacingReplicasAgreeOnTheKey(t *testing.T) {
	t.Parallel()
	s, c := buckettest.New(nil), fake.NewClock()
	const replicas = 16
	keys := make([][]byte, replicas)
	var wg sync.WaitGroup
	for i := range replicas {
		wg.Go(func() {
			var err error
			keys[i], err = ring(s, c).current(t.Context())
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	require.Len(t, keys[0], hmacKeyLen)
	for _, key := range keys {
		assert.Equal(t, keys[0], key)
	}
}

func TestKeyIsRewrittenOnceARefresh(t *testing.T) {
	t.Parallel()
	s, c := buckettest.New(nil), fake.NewClock()
	k := ring(s, c)
	use := func() { keyOf(t, k) }
	use()
	c.Move(KeyRefresh - 1)
	use()
	require.Equal(t, 1, s.Writes())
	c.Move(1)
	use()
	use()
	require.Equal(t, 2, s.Writes())
	c.Move(-time.Minute) // how old the key is can't be told now
	use()
	require.Equal(t, 3, s.Writes())
}

// TestKeyThatAgedOutIsReplaced lets a replica sleep past the key's life while
// another one makes a new key.
func TestKeyThatAgedOutIsReplaced(t *testing.T) {
	t.Parallel()
	s, c := buckettest.New(nil), fake.NewClock()
	sleeper, other := ring(s, c), ring(s, c)
	old := keyOf(t, sleeper)
	c.Move(BucketTTL(nil))
	s.Drop(hmacKeyName)
	made := keyOf(t, other)
	require.NotEqual(t, old, made)
	assert.Equal(t, made, keyOf(t, sleeper))
}

func TestLostAnswerOfTheKey(t *testing.T) {
	t.Parallel()
	s, c := buckettest.New(nil), fake.NewClock()
	s.Script(faults{buckettest.Write: {buckettest.LoseAnswer}})
	made := keyOf(t, ring(s, c))
	assert.Equal(t, made, keyOf(t, ring(s, c)))
	assert.Equal(t, 2, s.Writes(), "made once, rewritten once")
}

func TestDamagedKeyIsAnErrorThatShowsNothingOfIt(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"short", strings.Repeat("z", 64), strings.Repeat("ab", 31)} {
		f := buckettest.New(nil)
		f.Put(hmacKeyName, []byte(text))
		_, err := New(t.Context(), f.Bucket(), Options{})
		require.ErrorIs(t, err, errBadKey)
		assert.NotContains(t, err.Error(), text)
	}
}

// TestKeyOutlivesTheBucketsAge: used, the key stays; unused, it goes, and the replicas
// agree on the next one.
func TestKeyOutlivesTheBucketsAge(t *testing.T) {
	t.Parallel()
	c := fake.NewClock()
	s := buckettest.New(c.Now)
	s.Retain(BucketTTL(nil))
	a, b := ring(s, c), ring(s, c)
	first := keyOf(t, a)
	for range 100 {
		c.Move(KeyRefresh)
		require.Equal(t, first, keyOf(t, a))
	}
	assert.Equal(t, first, keyOf(t, b))

	c.Move(BucketTTL(nil))
	second := keyOf(t, b)
	assert.NotEqual(t, first, second)
	assert.Equal(t, second, keyOf(t, a))
	assert.Equal(t, second, keyOf(t, ring(s, c)))
}

// TestOneRewritesTheKey: the others wait for it, no longer than they have to.
func TestOneRewritesTheKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, c := buckettest.New(nil), fake.NewClock()
		k := ring(s, c)
		release := make(chan struct{})
		s.Inject(func(buckettest.Op, string) buckettest.Fault { <-release; return buckettest.None })
		first := make(chan error, 1)
		go func() { _, err := k.current(t.Context()); first <- err }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := k.current(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		close(release)
		require.NoError(t, <-first)
	})
}

// TestKeyThatSomebodyPurgedIsPutBack: replicas that hold it go on counting
// together.
func TestKeyThatSomebodyPurgedIsPutBack(t *testing.T) {
	t.Parallel()
	s, c := buckettest.New(nil), fake.NewClock()
	a, b := ring(s, c), ring(s, c)
	before := keyOf(t, a)
	c.Move(KeyRefresh / 2)
	keyOf(t, b)
	s.Drop(hmacKeyName)
	c.Move(KeyRefresh / 2)
	assert.Equal(t, before, keyOf(t, a)) // it looks; b's is young enough
	assert.Equal(t, before, keyOf(t, b))
}

// FuzzStoredKey opens a limiter on whatever lies where the HMAC key should. It is
// a key, or an error that shows nothing of it and leaves it as it is: another key
// would forget every phone.
func FuzzStoredKey(f *testing.F) {
	f.Add([]byte(strings.Repeat("0f", hmacKeyLen)))
	f.Add([]byte(strings.Repeat("0F", hmacKeyLen)))
	f.Add([]byte(strings.Repeat("0f", hmacKeyLen) + "\n"))
	f.Add([]byte(strings.Repeat("zz", hmacKeyLen)))
	f.Add([]byte("null"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(text) == 0 {
			t.Skip("there is no key then, and one is made")
		}
		s := buckettest.New(nil)
		s.Put(hmacKeyName, text)
		k := ring(s, fake.NewClock())
		key, err := k.current(t.Context())
		require.Equal(t, text, s.Entry(hmacKeyName).Value)
		if err != nil {
			require.ErrorIs(t, err, errBadKey)
			require.Equal(t, errBadKey.Error(), err.Error(), "a fixed text")
			return
		}
		require.Len(t, key, hmacKeyLen)
		require.True(t, bytes.EqualFold(text, []byte(hex.EncodeToString(key))))
		name, err := k.name(t.Context(), phoneA)
		require.NoError(t, err)
		require.Len(t, name, 64)
		require.NotContains(t, name, phoneA.Reveal()[1:])
		other, err := k.name(t.Context(), phoneB)
		require.NoError(t, err)
		require.NotEqual(t, name, other)
	})
}
