package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// times returns a hook that fails the first n times for a phone's document.
func times(n int, err error) func(string) error {
	var mu sync.Mutex
	return func(key string) error {
		mu.Lock()
		defer mu.Unlock()
		if key == hmacKeyName || n == 0 {
			return nil
		}
		n--
		return err
	}
}

func TestLostAnswerTakesOnePlaceAndIsNoDenial(t *testing.T) {
	t.Parallel()
	s, c := newMapStore(), newClock()
	l := openMap(t, s, rules(t, "1/1h"), c.Now)
	s.afterSwap = times(1, retry.ErrNoAnswer)

	got, err := l.Reserve(t.Context(), phoneA, "a", 1)
	require.NoError(t, err)
	assert.True(t, got.Allowed)
	state, err := l.Show(t.Context(), phoneA)
	require.NoError(t, err)
	assert.Equal(t, []Entry{{"a", epoch, 1}}, state.Entries)
}

func TestLostAnswerOfASlowBroker(t *testing.T) {
	t.Parallel()
	s, c := newMapStore(), newClock()
	l := openMap(t, s, rules(t, "1/1m", "2/1h"), c.Now)
	lost := times(2, retry.ErrNoAnswer)
	s.afterSwap = func(key string) error {
		err := lost(key)
		if err != nil {
			c.move(2 * time.Second) // as long as a request waits
		}
		return err
	}
	got, err := l.Reserve(t.Context(), phoneA, "a", 1)
	require.NoError(t, err)
	assert.True(t, got.Allowed)
	state, err := l.Show(t.Context(), phoneA)
	require.NoError(t, err)
	assert.Equal(t, []Entry{{"a", epoch.Add(4 * time.Second), 1}}, state.Entries)
}

func TestLostAnswerOfARelease(t *testing.T) {
	t.Parallel()
	s := newMapStore()
	l := openMap(t, s, rules(t, "1/1h"), newClock().Now)
	_, err := l.Reserve(t.Context(), phoneA, "a", 1)
	require.NoError(t, err)
	s.afterSwap = times(1, retry.ErrNoAnswer)
	require.NoError(t, l.Release(t.Context(), phoneA, "a", 1))
	got, err := l.Reserve(t.Context(), phoneA, "b", 1)
	require.NoError(t, err)
	assert.True(t, got.Allowed)
}

// TestConflictIsJudgedAnew lets another request take the last place between
// reading and writing.
func TestConflictIsJudgedAnew(t *testing.T) {
	t.Parallel()
	s, c := newMapStore(), newClock()
	l := openMap(t, s, rules(t, "1/1h"), c.Now)
	var other sync.Once
	s.beforeSwap = func(name string) error {
		other.Do(func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.set(name, fmt.Appendf(nil, `{"entries":[{"id":"faster","at":%d}]}`, epoch.Add(-time.Minute).UnixNano()))
		})
		return nil
	}
	got, err := l.Reserve(t.Context(), phoneA, "a", 1)
	require.NoError(t, err)
	assert.Equal(t, domain.Reservation{Rule: "1/1h", RetryAfter: 59 * time.Minute}, got)
}

func TestDenialWritesNothing(t *testing.T) {
	t.Parallel()
	s := newMapStore()
	l := openMap(t, s, rules(t, "1/1h"), newClock().Now)
	for _, id := range []string{"a", "b", "c", "a"} {
		_, err := l.Reserve(t.Context(), phoneA, id, 1)
		require.NoError(t, err)
	}
	require.NoError(t, l.Release(t.Context(), phoneA, "b", 1))
	assert.Equal(t, 2, s.writes(), "the HMAC key and one place")
}

// TestWhatIsGuessedOfAPhoneDecidesNothing: a call begins with the guess that
// nothing is known of the phone. It ends as if it had read.
func TestWhatIsGuessedOfAPhoneDecidesNothing(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) int64 { return epoch.Add(d).UnixNano() }
	free := document{}
	used := document{Entries: []entry{{ID: "old", At: at(-time.Minute)}}}
	ours := document{Entries: []entry{{ID: "a", At: at(0), Attempt: 1}}}
	closed := document{ClosedUntil: at(time.Hour)}
	reserve := func(l *Limiter) (domain.Reservation, error) { return l.Reserve(t.Context(), phoneA, "a", 1) }
	release := func(l *Limiter) (r domain.Reservation, err error) { return r, l.Release(t.Context(), phoneA, "a", 1) }
	shut := func(l *Limiter) (r domain.Reservation, err error) {
		return r, l.CloseFor(t.Context(), phoneA, time.Minute)
	}
	for name, test := range map[string]struct {
		known         document
		call          func(*Limiter) (domain.Reservation, error)
		want          domain.Reservation
		left          document
		reads, writes int
	}{
		"the first request of a phone": {free, reserve, domain.Reservation{Allowed: true}, ours, 0, 1},
		"a place that is taken":        {used, reserve, domain.Reservation{Rule: "1/1h", RetryAfter: 59 * time.Minute}, used, 1, 0},
		"a phone that is closed":       {closed, reserve, domain.Reservation{Rule: "closed", RetryAfter: time.Hour}, closed, 1, 0},
		"a place to give back":         {ours, release, domain.Reservation{}, free, 1, 1},
		"no place to give back":        {used, release, domain.Reservation{}, used, 1, 0},
		"a phone to close":             {free, shut, domain.Reservation{}, document{ClosedUntil: at(time.Minute)}, 0, 1},
		"closing keeps places":         {ours, shut, domain.Reservation{}, document{Entries: ours.Entries, ClosedUntil: at(time.Minute)}, 1, 1},
		"a longer closure stands":      {closed, shut, domain.Reservation{}, closed, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newMapStore()
			l := openMap(t, s, rules(t, "1/1h"), newClock().Now)
			key, err := l.keys.name(t.Context(), phoneA)
			require.NoError(t, err)
			if test.known.ClosedUntil != 0 || test.known.Entries != nil {
				data, err := test.known.encode()
				require.NoError(t, err)
				s.set(key, data)
			}
			before, reads := s.writes(), 0
			s.beforeGet = func(string) error { reads++; return nil }

			got, err := test.call(l)
			require.NoError(t, err)
			assert.Equal(t, test.want, got)
			assert.Equal(t, test.reads, reads, "reads")
			assert.Equal(t, test.writes, s.writes()-before, "writes")
			left, err := decodeDocument(s.values[key].value)
			require.NoError(t, err)
			assert.Equal(t, test.left.ClosedUntil, left.ClosedUntil)
			assert.ElementsMatch(t, test.left.Entries, left.Entries)
		})
	}
}

func TestTroubleThatPasses(t *testing.T) {
	t.Parallel()
	s := newMapStore()
	l := openMap(t, s, rules(t, "1/1h"), newClock().Now)
	s.beforeGet, s.beforeSwap = times(2, errors.New("no leader")), times(2, bucket.ErrConflict)
	got, err := l.Reserve(t.Context(), phoneA, "a", 1)
	require.NoError(t, err)
	assert.True(t, got.Allowed)
}

func TestPatienceEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newMapStore()
		l := openMap(t, s, rules(t, "1/1h"), nil)
		s.beforeGet, s.beforeSwap = times(-1, errors.New("no leader")), times(-1, errors.New("no leader"))

		began := time.Now()
		got, err := l.Reserve(t.Context(), phoneA, "a", 1)
		assert.Zero(t, got)
		require.ErrorIs(t, err, ErrUnavailable)
		assert.ErrorContains(t, err, "reserve")
		assert.ErrorContains(t, err, "gave up on the broker after 8s")
		assert.ErrorContains(t, err, "no leader")
		assert.NotContains(t, err.Error(), "13812345678")
		assert.Equal(t, bucket.Patience, time.Since(began))

		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("the job's lease"))
		defer cancel()
		_, err = l.Show(ctx, phoneA)
		assert.ErrorContains(t, err, "the job's lease")
		assert.NotErrorIs(t, err, ErrUnavailable, "the caller's own bound ended it")
	})
}

// TestQueueOnOnePhoneHonoursContext lets one call hang and others wait for it.
func TestQueueOnOnePhoneHonoursContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newMapStore()
		l := openMap(t, s, rules(t, "9/1h"), nil)
		release := make(chan struct{})
		s.beforeSwap = func(string) error { <-release; return nil }
		first := make(chan error, 1)
		go func() { _, err := l.Reserve(t.Context(), phoneA, "a", 1); first <- err }()
		synctest.Wait()

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := l.Reserve(ctx, phoneA, "b", 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)

		close(release)
		require.NoError(t, <-first)
		assert.Empty(t, l.locks.slots, "no lock is left behind")
	})
}

func TestCorruptDocumentStartsAnewAndIsLogged(t *testing.T) {
	t.Parallel()
	var logged strings.Builder
	s, c := newMapStore(), newClock()
	l, err := open(t.Context(), s, Options{
		Rules: rules(t, "1/1h"), Now: c.Now, Logger: slog.New(slog.NewTextHandler(&logged, nil)),
	}, KeyRefresh)
	require.NoError(t, err)
	name, err := l.keys.name(t.Context(), phoneA)
	require.NoError(t, err)
	s.set(name, []byte(`+8613812345678 {"entries":`))

	_, err = l.Show(t.Context(), phoneA)
	require.ErrorIs(t, err, ErrCorrupt)
	require.NoError(t, l.Release(t.Context(), phoneA, "a", 1))

	got, err := l.Reserve(t.Context(), phoneA, "a", 1)
	require.NoError(t, err)
	assert.True(t, got.Allowed)
	assert.Contains(t, logged.String(), "level=ERROR")
	assert.Contains(t, logged.String(), name)
	assert.NotContains(t, logged.String(), "13812345678")

	got, err = l.Reserve(t.Context(), phoneA, "b", 1)
	require.NoError(t, err)
	assert.False(t, got.Allowed, "the limits hold again")
}

func TestNoNumberIsStored(t *testing.T) {
	t.Parallel()
	s := newMapStore()
	l := openMap(t, s, rules(t, "1/1h"), newClock().Now)
	_, err := l.Reserve(t.Context(), phoneA, "a", 1)
	require.NoError(t, err)
	require.Len(t, s.values, 2)
	for name, v := range s.values {
		if name != hmacKeyName {
			assert.Regexp(t, `^[0-9a-f]{64}$`, name)
		}
		assert.NotContains(t, name+string(v.value), "13812345678")
	}
}

func TestOwnKeyIsUsedAndNotStored(t *testing.T) {
	t.Parallel()
	s := newMapStore()
	l, err := open(t.Context(), s, Options{Rules: rules(t, "1/1h"), Key: passcode.NewSecret("secret")}, KeyRefresh)
	require.NoError(t, err)
	_, err = l.Reserve(t.Context(), phoneA, "a", 1)
	require.NoError(t, err)
	require.Len(t, s.values, 1)
	// printf %s +8613812345678 | openssl dgst -sha256 -hmac secret
	assert.Contains(t, s.values, "f2380a3d5c79d212bad3be574cf6e8e3046f3dff39bff922ffd367e352eff8de")
}
