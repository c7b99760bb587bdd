package bucket_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/test/brokertest"
	"github.com/passcode-worker/passcode-worker/test/buckettest"
)

// subject is a bucket under test.
type subject struct{ buckettest.Subject }

// holds checks a value and returns its revision.
func (s subject) holds(t *testing.T, key, want string) uint64 {
	t.Helper()
	entry, err := s.Get(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, want, string(entry.Value))
	return entry.Revision
}

// put makes a value the one of a key, whatever it was.
func (s subject) put(t *testing.T, key, value string) uint64 {
	t.Helper()
	entry, err := s.Change(t.Context(), key, nil, func(bucket.Entry) ([]byte, error) { return []byte(value), nil })
	require.NoError(t, err)
	require.Equal(t, value, string(entry.Value))
	return entry.Revision
}

// TestConformance holds the real bucket and the fake to the same.
func TestConformance(t *testing.T) {
	t.Parallel()
	for name, start := range buckettest.Both {
		for behaviour, test := range map[string]func(*testing.T, subject){
			"a value comes and goes":               aValueComesAndGoes,
			"an assumption must hold":              anAssumptionMustHold,
			"an assumption decides nothing":        anAssumptionDecidesNothing,
			"an error ends a change":               anErrorEndsAChange,
			"what is begun is there or not":        whatIsBegunIsThereOrNot,
			"a watch tells of every change":        aWatchTellsOfEveryChange,
			"the history is oldest first":          theHistoryIsOldestFirst,
			"an empty value is a value":            anEmptyValueIsAValue,
			"a race is decided on again by losers": aRaceIsDecidedOnAgain,
		} {
			t.Run(name+"/"+behaviour, func(t *testing.T) {
				t.Parallel()
				test(t, subject{start(t)})
			})
		}
	}
}

func whatIsBegunIsThereOrNot(t *testing.T, s subject) {
	first, second := s.Begin("a", []byte("first")), s.Begin("a", []byte("second"))
	require.ErrorIs(t, second(t.Context()), bucket.ErrConflict)
	require.NoError(t, first(t.Context()))
	s.holds(t, "a", "first")
	require.NoError(t, s.Remove(t.Context(), "a"))
	require.ErrorIs(t, s.Begin("a", []byte("x"))(t.Context()), bucket.ErrConflict, "a deletion leaves a mark")
}

func aValueComesAndGoes(t *testing.T, s subject) {
	assert.Equal(t, time.Hour, s.TTL())
	s.Drop["ours"] = func(t *testing.T, key string) { require.NoError(t, s.Remove(t.Context(), key)) }
	for how, remove := range s.Drop {
		require.Zero(t, s.holds(t, how, ""))
		first := s.put(t, how, "first")
		assert.Equal(t, first, s.holds(t, how, "first"))
		next := s.put(t, how, "second")
		assert.Greater(t, next, first)
		remove(t, how)
		entry, err := s.Get(t.Context(), how)
		require.NoError(t, err)
		assert.Nil(t, entry.Value, how)
		assert.Equal(t, how != "expired", entry.Revision > next, how)
		assert.Equal(t, how == "expired", entry.Revision == 0, how)
		assert.Greater(t, s.put(t, how, "third"), next)
	}
}

func anAssumptionMustHold(t *testing.T, s subject) {
	s.Drop["there"] = func(*testing.T, string) {}
	for how, remove := range s.Drop {
		old := s.put(t, how, "old")
		remove(t, how)
		for _, assumed := range []uint64{0, old + 100} {
			var seen []string
			entry, err := s.Change(t.Context(), how, &bucket.Entry{Revision: assumed}, func(e bucket.Entry) ([]byte, error) {
				seen = append(seen, string(e.Value))
				assert.False(t, e.Own)
				return []byte("new"), nil
			})
			require.NoError(t, err)
			assert.Equal(t, s.holds(t, how, "new"), entry.Revision)
			assert.Empty(t, seen[0])
			assert.LessOrEqual(t, len(seen), 2)
			s.put(t, how, "old")
			remove(t, how)
		}
	}
}

func anAssumptionDecidesNothing(t *testing.T, s subject) {
	old := s.put(t, "a", "old")
	calls := 0
	entry, err := s.Change(t.Context(), "a", &bucket.Entry{}, func(bucket.Entry) ([]byte, error) { calls++; return nil, nil })
	require.NoError(t, err)
	assert.Equal(t, bucket.Entry{Value: []byte("old"), Revision: old}, entry)
	assert.Equal(t, 2, calls)
}

func anErrorEndsAChange(t *testing.T, s subject) {
	refusal := errors.New("no")
	_, err := s.Change(t.Context(), "a", nil, func(bucket.Entry) ([]byte, error) { return nil, refusal })
	require.ErrorIs(t, err, refusal)
	s.holds(t, "a", "")
	tries := 0
	_, err = s.Change(t.Context(), "a", nil, func(e bucket.Entry) ([]byte, error) {
		if tries++; tries < 3 {
			s.put(t, "a", fmt.Sprint(tries))
			return nil, fmt.Errorf("not yet: %w", retry.ErrAgain)
		}
		assert.Equal(t, "2", string(e.Value), "read again")
		return nil, nil
	})
	require.NoError(t, err)
}

func aWatchTellsOfEveryChange(t *testing.T, s subject) {
	first := s.put(t, "a", "first")
	enough := errors.New("seen enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	updates, ended := make(chan bucket.Entry), make(chan error, 1)
	go func() { ended <- s.Watch(ctx, "a", func(e bucket.Entry) { updates <- e }) }()
	assert.Equal(t, bucket.Entry{Value: []byte("first"), Revision: first}, <-updates, "what is there at the start")
	s.put(t, "b", "not watched")
	second := s.put(t, "a", "second")
	assert.Equal(t, bucket.Entry{Value: []byte("second"), Revision: second}, <-updates)
	require.NoError(t, s.Remove(t.Context(), "a"))
	assert.Nil(t, (<-updates).Value)
	cancel(enough)
	require.ErrorIs(t, <-ended, enough)
}

func theHistoryIsOldestFirst(t *testing.T, s subject) {
	for _, value := range []string{"1", "2", "3"} {
		s.put(t, "a", value)
		s.put(t, "other", value)
	}
	values, err := s.History(t.Context(), "a")
	require.NoError(t, err)
	assert.Equal(t, [][]byte{[]byte("1"), []byte("2"), []byte("3")}, values)
	values, err = s.History(t.Context(), "nothing")
	require.NoError(t, err)
	assert.Empty(t, values)
	since, err := s.Since(t.Context())
	require.NoError(t, err)
	assert.False(t, since.After(time.Now()))
}

func anEmptyValueIsAValue(t *testing.T, s subject) {
	s.put(t, "a", "")
	entry, err := s.Get(t.Context(), "a")
	require.NoError(t, err)
	assert.NotNil(t, entry.Value)
	assert.NotZero(t, entry.Revision)
}

func aRaceIsDecidedOnAgain(t *testing.T, s subject) {
	const each, workers = 5, 4
	done := make(chan error)
	for range workers {
		go func() {
			for range each {
				_, err := s.Change(t.Context(), "a", nil, func(e bucket.Entry) ([]byte, error) { return append(e.Value, 'x'), nil })
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range workers {
		require.NoError(t, <-done)
	}
	s.holds(t, "a", strings.Repeat("x", each*workers))
}

// opened makes and opens a bucket on a broker.
func opened(t *testing.T) (*nats.Conn, jetstream.JetStream, *bucket.Bucket) {
	t.Helper()
	nc, js := brokertest.Start(t)
	buckettest.Make(t, js)
	b, err := bucket.Open(t.Context(), js, buckettest.Name)
	require.NoError(t, err)
	return nc, js, b
}

func TestOpenNeedsTheBucket(t *testing.T) {
	t.Parallel()
	_, js := brokertest.Start(t)
	_, err := bucket.Open(t.Context(), js, buckettest.Name)
	require.ErrorIs(t, err, bucket.ErrMissing)
	require.EqualError(t, err, `there is no bucket "things"; it must be provisioned first`)
}

func TestErrorsThatNoRetryFixes(t *testing.T) {
	t.Parallel()
	nc, js, b := opened(t)
	change := func(key, value string) error {
		_, err := b.Change(t.Context(), key, &bucket.Entry{}, func(bucket.Entry) ([]byte, error) { return []byte(value), nil })
		return err
	}
	began := time.Now()
	require.ErrorIs(t, change("no key", ""), jetstream.ErrInvalidKey)
	require.ErrorIs(t, change("a", strings.Repeat("x", 2<<20)), nats.ErrMaxPayload)
	require.NoError(t, js.DeleteKeyValue(t.Context(), buckettest.Name))
	_, err := b.Get(t.Context(), "a")
	require.ErrorIs(t, err, jetstream.ErrStreamNotFound)
	nc.Close()
	require.ErrorIs(t, b.Remove(t.Context(), "a"), nats.ErrConnectionClosed)
	assert.Less(t, time.Since(began), retry.Request.Total/2)
}

func TestBrokerAway(t *testing.T) {
	t.Parallel()
	h := brokertest.Server(t)
	_, js := h.Connect()
	buckettest.Make(t, js)
	b, err := bucket.Open(t.Context(), js, buckettest.Name)
	require.NoError(t, err)
	h.Stop()
	bound := errors.New("the caller's bound")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, bound)
	defer cancel()
	_, err = b.Get(ctx, "a")
	require.ErrorIs(t, err, bound)
	_, err = bucket.Open(ctx, js, buckettest.Name)
	require.ErrorIs(t, err, bound)
	require.NotErrorIs(t, err, bucket.ErrMissing)

	h.Restart()
	_, err = bucket.Open(t.Context(), js, buckettest.Name)
	require.NoError(t, err)
	entry, err := b.Get(t.Context(), "a")
	require.NoError(t, err)
	assert.Zero(t, entry)
}

// TestOnlyTheLeaderIsAsked: no other replica takes part in a read or a write.
func TestOnlyTheLeaderIsAsked(t *testing.T) {
	t.Parallel()
	nc, _, b := opened(t)
	asked, err := nc.SubscribeSync("$JS.API.>")
	require.NoError(t, err)
	for _, start := range []*bucket.Entry{nil, {}, {}} {
		_, err = b.Change(t.Context(), "a", start, func(bucket.Entry) ([]byte, error) { return []byte("x"), nil })
		require.NoError(t, err)
	}
	require.NoError(t, nc.Flush())
	requests, _, err := asked.Pending()
	require.NoError(t, err)
	assert.Equal(t, 3, requests, "a read for each change, as the assumptions were wrong")
	for range requests {
		msg, err := asked.NextMsgWithContext(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "$JS.API.STREAM.MSG.GET.KV_things", msg.Subject)
	}
}

// TestAnnouncedAsTheServerDoes: on the same subject, with the same bytes, and
// nowhere where the bucket is not republished.
func TestAnnouncedAsTheServerDoes(t *testing.T) {
	t.Parallel()
	nc, js := brokertest.Start(t)
	heard, err := nc.SubscribeSync("results.>")
	require.NoError(t, err)
	for bucketName, republish := range map[string]*jetstream.RePublish{
		"announced": {Source: "$KV.announced.>", Destination: "results.>"}, "silent": nil,
	} {
		kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: bucketName, RePublish: republish})
		require.NoError(t, err)
		b, err := bucket.Open(t.Context(), js, bucketName)
		require.NoError(t, err)
		require.NoError(t, b.Announce(t.Context(), "r", []byte("the record")))
		if republish == nil {
			continue
		}
		ours, err := heard.NextMsg(10 * time.Second)
		require.NoError(t, err)
		_, err = kv.PutString(t.Context(), "r", "the record")
		require.NoError(t, err)
		theirs, err := heard.NextMsg(10 * time.Second)
		require.NoError(t, err)
		assert.Equal(t, "results.r", theirs.Subject)
		assert.Equal(t, theirs.Subject, ours.Subject)
		assert.Equal(t, theirs.Data, ours.Data)
	}
	require.NoError(t, nc.Flush())
	left, _, err := heard.Pending()
	require.NoError(t, err)
	assert.Zero(t, left)
}
