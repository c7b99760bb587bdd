package ratelimit

import (
	"context"
	"encoding/json"
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

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/buckettest"
	"github.com/passcode-worker/passcode-worker/test/fake"
)

type faults = map[buckettest.Op][]buckettest.Fault

// TestLostAnswers: a reservation is made once, counts from when its answer came, and
// is never denied for its own sake.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		faults []buckettest.Fault
		takes  time.Duration // each that is lost
		at     time.Duration
	}{
		"one":               {[]buckettest.Fault{buckettest.LoseAnswer}, 0, 0},
		"of a slow broker":  {[]buckettest.Fault{buckettest.LoseAnswer, buckettest.None, buckettest.LoseAnswer}, 2 * time.Second, 4 * time.Second},
		"the requests, too": {[]buckettest.Fault{buckettest.LoseRequest, buckettest.LoseAnswer}, 2 * time.Second, 4 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c := fake.NewClock()
				l, f := faked(t, rules(t, "1/1m", "2/1h"), c.Now)
				left := test.faults
				f.Inject(func(op buckettest.Op, _ string) buckettest.Fault {
					if op != buckettest.Write || len(left) == 0 {
						return buckettest.None
					}
					next := left[0]
					left = left[1:]
					if next != buckettest.None {
						defer c.Move(test.takes) // as long as a request waits
					}
					return next
				})
				reserves(t, l, "a")
				state, err := l.Show(t.Context(), phoneA)
				require.NoError(t, err)
				assert.Equal(t, []Entry{{"a", epoch.Add(test.at), 1}}, state.Entries)
			})
		})
	}
}

// TestReservedAheadOrNot: what isn't certain is no reservation, and the next call finds out.
func TestReservedAheadOrNot(t *testing.T) {
	t.Parallel()
	for fault, entries := range map[buckettest.Fault]int{buckettest.LoseAnswer: 1, buckettest.LoseRequest: 0, buckettest.Refuse: 0} {
		l, f := faked(t, rules(t, "1/1h"), fake.NewClock().Now)
		f.Script(faults{buckettest.Write: {fault}})
		made, known := l.ReserveAhead(t.Context(), phoneA, "a")()
		assert.False(t, made)
		assert.False(t, known)
		state, err := l.Show(t.Context(), phoneA)
		require.NoError(t, err)
		assert.Len(t, state.Entries, entries)
		reserves(t, l, "a")
		state, err = l.Show(t.Context(), phoneA)
		require.NoError(t, err)
		assert.Equal(t, []Entry{{"a", epoch, 1}}, state.Entries)
	}
}

// TestConflictIsJudgedAgain lets another request make the last reservation between
// reading and writing.
func TestConflictIsJudgedAgain(t *testing.T) {
	t.Parallel()
	l, f := faked(t, rules(t, "1/1h"), fake.NewClock().Now)
	var other sync.Once
	f.Inject(func(op buckettest.Op, name string) buckettest.Fault {
		if op == buckettest.Write {
			other.Do(func() {
				f.Put(name, fmt.Appendf(nil, `{"entries":[{"id":"faster","at":%d}]}`, epoch.Add(-time.Minute).UnixNano()))
			})
		}
		return buckettest.None
	})
	got, err := l.Reserve(t.Context(), phoneA, "a", 1, false)
	require.NoError(t, err)
	assert.Equal(t, domain.Reservation{Rule: "1/1h", RetryAfter: 59 * time.Minute}, got)
}

// TestWhatIsGuessedOfAPhoneDecidesNothing: a call begins with the guess that
// nothing is known of the phone. It ends as if it had read.
func TestWhatIsGuessedOfAPhoneDecidesNothing(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) int64 { return epoch.Add(d).UnixNano() }
	free := document{}
	used := document{Entries: []entry{{ID: "old", At: at(-time.Minute)}}}
	ours := document{Entries: []entry{{ID: "a", At: at(0), Revision: 1}}}
	closed := document{ClosedUntil: at(time.Hour)}
	reserve := func(l *Limiter) (domain.Reservation, error) { return l.Reserve(t.Context(), phoneA, "a", 1, false) }
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
		"a window that is full":        {used, reserve, domain.Reservation{Rule: "1/1h", RetryAfter: 59 * time.Minute}, used, 1, 0},
		"a phone that is closed":       {closed, reserve, domain.Reservation{Rule: "closed", RetryAfter: time.Hour}, closed, 1, 0},
		"our own reservation":          {ours, reserve, domain.Reservation{Allowed: true}, ours, 1, 0},
		"a reservation to release":     {ours, release, domain.Reservation{}, free, 1, 1},
		"no reservation to release":    {used, release, domain.Reservation{}, used, 1, 0},
		"a phone to close":             {free, shut, domain.Reservation{}, document{ClosedUntil: at(time.Minute)}, 0, 1},
		"closing keeps reservations":   {ours, shut, domain.Reservation{}, document{Entries: ours.Entries, ClosedUntil: at(time.Minute)}, 1, 1},
		"a longer closure stands":      {closed, shut, domain.Reservation{}, closed, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, f := faked(t, rules(t, "1/1h"), fake.NewClock().Now)
			key, err := l.keys.name(t.Context(), phoneA)
			require.NoError(t, err)
			if test.known.ClosedUntil != 0 || test.known.Entries != nil {
				data, err := json.Marshal(test.known)
				require.NoError(t, err)
				f.Put(key, data)
			}
			before, reads := f.Writes(), 0
			f.Inject(func(op buckettest.Op, _ string) buckettest.Fault {
				if op == buckettest.Get {
					reads++
				}
				return buckettest.None
			})
			got, err := test.call(l)
			require.NoError(t, err)
			assert.Equal(t, test.want, got)
			assert.Equal(t, test.reads, reads, "reads")
			assert.Equal(t, test.writes, f.Writes()-before, "writes")
			left, err := decodeDocument(f.Entry(key).Value)
			require.NoError(t, err)
			assert.Equal(t, test.left.ClosedUntil, left.ClosedUntil)
			assert.ElementsMatch(t, test.left.Entries, left.Entries)
		})
	}
}

func TestCallsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l, f := faked(t, rules(t, "1/1h"), nil)
		f.Always(buckettest.Refuse, buckettest.Get, buckettest.Write)
		began := time.Now()
		got, err := l.Reserve(t.Context(), phoneA, "a", 1, false)
		assert.Zero(t, got)
		require.ErrorIs(t, err, retry.ErrGaveUp)
		require.ErrorIs(t, err, buckettest.ErrRefused)
		assert.ErrorContains(t, err, "reserve")
		assert.NotContains(t, err.Error(), "13812345678")
		assert.Equal(t, retry.Request.Total, time.Since(began))

		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errors.New("the job's lease"))
		defer cancel()
		_, err = l.Show(ctx, phoneA)
		assert.ErrorContains(t, err, "the job's lease")
	})
}

func TestCorruptDocumentStartsFromZeroAndIsLogged(t *testing.T) {
	t.Parallel()
	var logged strings.Builder
	l, f := faked(t, rules(t, "1/1h"), fake.NewClock().Now)
	l.log = slog.New(slog.NewTextHandler(&logged, nil))
	name, err := l.keys.name(t.Context(), phoneA)
	require.NoError(t, err)
	f.Put(name, []byte(`+8613812345678 {"entries":`))

	_, err = l.Show(t.Context(), phoneA)
	require.ErrorIs(t, err, ErrCorrupt)
	require.NoError(t, l.Release(t.Context(), phoneA, "a", 1))
	reserves(t, l, "a")
	assert.Contains(t, logged.String(), "level=ERROR")
	assert.Contains(t, logged.String(), name)
	assert.NotContains(t, logged.String(), "13812345678")

	got, err := l.Reserve(t.Context(), phoneA, "b", 1, false)
	require.NoError(t, err)
	assert.False(t, got.Allowed, "the limits hold again")
}

func TestNoNumberIsStored(t *testing.T) {
	t.Parallel()
	l, f := faked(t, rules(t, "1/1h"), fake.NewClock().Now)
	reserves(t, l, "a")
	require.Len(t, f.Keys(), 2)
	for _, name := range f.Keys() {
		if name != hmacKeyName {
			assert.Regexp(t, `^[0-9a-f]{64}$`, name)
		}
		assert.NotContains(t, name+string(f.Entry(name).Value), "13812345678")
	}
}

func TestOwnKeyIsUsedAndNotStored(t *testing.T) {
	t.Parallel()
	f := buckettest.New(nil)
	l, err := New(t.Context(), f.Bucket(), Options{Rules: rules(t, "1/1h"), Key: passcode.NewSecret("secret")})
	require.NoError(t, err)
	reserves(t, l, "a")
	// printf %s +8613812345678 | openssl dgst -sha256 -hmac secret
	assert.Equal(t, []string{"f2380a3d5c79d212bad3be574cf6e8e3046f3dff39bff922ffd367e352eff8de"}, f.Keys())
}
