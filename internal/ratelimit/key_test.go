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

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/buckettest"
	"github.com/passcode-worker/passcode-worker/test/fake"
)

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
