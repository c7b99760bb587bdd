package ratelimit

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/brokertest"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/passcode"
)

func ring(s store, c *clock) *keyring { return newKeyring(s, passcode.Secret{}, KeyRefresh, c.Now) }

func TestRacingReplicasAgreeOnTheKey(t *testing.T) {
	t.Parallel()
	s, c := newMapStore(), newClock()
	const replicas = 16
	keys := make([]string, replicas)
	var wg sync.WaitGroup
	for i := range replicas {
		wg.Go(func() {
			key, err := ring(s, c).current(t.Context())
			assert.NoError(t, err)
			keys[i] = string(key)
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
	s, c := newMapStore(), newClock()
	k := ring(s, c)
	use := func() {
		_, err := k.current(t.Context())
		require.NoError(t, err)
	}
	use()
	c.move(KeyRefresh - 1)
	use()
	require.Equal(t, 1, s.writes())
	c.move(1)
	use()
	use()
	require.Equal(t, 2, s.writes())
	c.move(-time.Minute) // how old the key is can't be told now
	use()
	require.Equal(t, 3, s.writes())
}

// TestKeyThatAgedOutIsReplaced lets a replica sleep past the key's life while
// another one makes a new key.
func TestKeyThatAgedOutIsReplaced(t *testing.T) {
	t.Parallel()
	s, c := newMapStore(), newClock()
	sleeper, other := ring(s, c), ring(s, c)
	old, err := sleeper.current(t.Context())
	require.NoError(t, err)

	c.move(BucketTTL(nil))
	require.NoError(t, s.Remove(t.Context(), hmacKeyName))
	made, err := other.current(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, old, made)

	adopted, err := sleeper.current(t.Context())
	require.NoError(t, err)
	assert.Equal(t, made, adopted)
}

func TestLostAnswerOfTheKey(t *testing.T) {
	t.Parallel()
	s, c := newMapStore(), newClock()
	lost := false
	s.afterSwap = func(string) error {
		if lost {
			return nil
		}
		lost = true
		return retry.ErrNoAnswer
	}
	key, err := ring(s, c).current(t.Context())
	require.NoError(t, err)
	again, err := ring(s, c).current(t.Context())
	require.NoError(t, err)
	assert.Equal(t, key, again)
}

func TestDamagedKeyIsAnErrorThatShowsNothingOfIt(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"short", strings.Repeat("z", 64), strings.Repeat("ab", 31)} {
		s := newMapStore()
		s.set(hmacKeyName, []byte(text))
		_, err := open(t.Context(), s, Options{}, KeyRefresh)
		require.ErrorIs(t, err, errBadKey)
		assert.NotContains(t, err.Error(), text)
	}
}

// TestKeyOutlivesTheBucketsAge runs on a real bucket that drops what is two
// seconds old: used, the key stays; unused, it goes, and the limiters agree on the
// next one.
func TestKeyOutlivesTheBucketsAge(t *testing.T) {
	t.Parallel()
	const ttl, refresh = 2 * time.Second, 200 * time.Millisecond
	_, js := brokertest.Start(t)
	kv := makeBucket(t, js, ttl)
	replica := func() *Limiter {
		l, err := open(t.Context(), opened(t, js), Options{Rules: rules(t, "1000/1s")}, refresh)
		require.NoError(t, err)
		return l
	}
	a, b := replica(), replica()
	name := func(l *Limiter) string {
		name, err := l.keys.name(t.Context(), phoneA)
		require.NoError(t, err)
		return name
	}
	first := name(a)
	for began := time.Now(); time.Since(began) < ttl*3/2; {
		_, err := a.Reserve(t.Context(), phoneA, "a", 1)
		require.NoError(t, err)
	}
	assert.Equal(t, first, name(a))
	assert.Equal(t, first, name(b))

	require.Eventually(t, func() bool {
		_, err := kv.Get(t.Context(), hmacKeyName)
		return errors.Is(err, jetstream.ErrKeyNotFound)
	}, 10*ttl, 50*time.Millisecond)
	second := name(b)
	assert.NotEqual(t, first, second)
	assert.Equal(t, second, name(a))
	assert.Equal(t, second, name(replica()))
}

// TestKeyThatSomebodyPurgedIsPutBack: replicas that hold it go on counting
// together.
func TestKeyThatSomebodyPurgedIsPutBack(t *testing.T) {
	t.Parallel()
	s, c := newMapStore(), newClock()
	a, b := ring(s, c), ring(s, c)
	before, err := a.current(t.Context())
	require.NoError(t, err)
	c.move(KeyRefresh / 2)
	_, err = b.current(t.Context())
	require.NoError(t, err)
	require.NoError(t, s.Remove(t.Context(), hmacKeyName))
	c.move(KeyRefresh / 2)
	after, err := a.current(t.Context()) // it looks; b's is young enough
	require.NoError(t, err)
	assert.Equal(t, before, after)
	after, err = b.current(t.Context())
	require.NoError(t, err)
	assert.Equal(t, before, after)
}
