package ratelimit

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/brokertest"
	"github.com/passcode-worker/passcode-worker/test/fake"
)

// replicas opens n limiters, each on a connection of its own.
func replicas(t testing.TB, h *brokertest.Handle, n int, list []domain.Rule) []*Limiter {
	t.Helper()
	limiters := make([]*Limiter, n)
	for i := range limiters {
		_, js := h.Connect()
		if i == 0 {
			makeBucket(t, js, BucketTTL(list))
		}
		limiters[i] = openOn(t, js, list, nil)
	}
	return limiters
}

// TestRaceForOnePhone sends 200 requests for one phone at once over three replicas.
func TestRaceForOnePhone(t *testing.T) {
	t.Parallel()
	limiters := replicas(t, brokertest.Server(t), 3, rules(t, "3/1h"))
	race(t, limiters, 1, 200, 3)
	state, err := limiters[0].Show(t.Context(), phoneA)
	require.NoError(t, err)
	assert.Len(t, state.Entries, 3)
}

func TestRaceForManyPhones(t *testing.T) {
	t.Parallel()
	race(t, replicas(t, brokertest.Server(t), 3, rules(t, "4/1h", "6/24h")), 50, 20, 4)
}

// race sends requests for each of some phones at once, the first of which is
// [phoneA], and checks how many of them are allowed.
func race(t *testing.T, limiters []*Limiter, phones, each, allowed int) {
	t.Helper()
	answers := make([]domain.Reservation, phones*each)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			<-start
			var err error
			phone := passcode.NewPhone(fmt.Sprintf("+86138%08d", 12345678+i%phones))
			answers[i], err = limiters[i%len(limiters)].Reserve(t.Context(), phone, fmt.Sprintf("r%d", i), 1, false)
			assert.NoError(t, err)
		})
	}
	close(start)
	wg.Wait()
	granted := make([]int, phones)
	for i, answer := range answers {
		if answer.Allowed {
			granted[i%phones]++
			continue
		}
		assert.Equal(t, fmt.Sprintf("%d/1h", allowed), answer.Rule)
		assert.Positive(t, answer.RetryAfter)
		assert.LessOrEqual(t, answer.RetryAfter, time.Hour)
	}
	assert.Equal(t, slices.Repeat([]int{allowed}, phones), granted)
}

// TestSameRequestAtOnce: the same job on several replicas holds one reservation.
func TestSameRequestAtOnce(t *testing.T) {
	t.Parallel()
	limiters := replicas(t, brokertest.Server(t), 3, rules(t, "1/1h"))
	var wg sync.WaitGroup
	for i := range 60 {
		wg.Go(func() {
			got, err := limiters[i%3].Reserve(t.Context(), phoneA, "same", 1, false)
			assert.NoError(t, err)
			assert.True(t, got.Allowed)
		})
	}
	wg.Wait()
	state, err := limiters[0].Show(t.Context(), phoneA)
	require.NoError(t, err)
	assert.Len(t, state.Entries, 1)
}

func TestBrokerAgainstModel(t *testing.T) {
	t.Parallel()
	_, js := brokertest.Start(t)
	makeBucket(t, js, 0)
	kv, err := bucket.Open(t.Context(), js, testBucket)
	require.NoError(t, err)
	phone := 0
	rapid.Check(t, func(r *rapid.T) {
		phone++ // a phone of its own for each history
		list, c := drawRules(r), fake.NewClock()
		l, err := New(r.Context(), kv, Options{Rules: list, Now: c.Now})
		require.NoError(r, err)
		walk(r, 25, list, c, l, passcode.NewPhone(fmt.Sprintf("+86138%08d", phone)))
	})
}

func TestOpenChecksTheBucket(t *testing.T) {
	t.Parallel()
	_, js := brokertest.Start(t)
	open := func(texts ...string) error {
		_, err := Open(t.Context(), js, Options{Bucket: testBucket, Rules: rules(t, texts...)})
		return err
	}
	assert.ErrorContains(t, open("1/1m"), `no bucket "limits"`)

	makeBucket(t, js, BucketTTL(rules(t, "1/1m")))
	require.NoError(t, open("1/1m", "10/24h"))
	err := open("1/1m", "10/48h")
	assert.ErrorContains(t, err, "drops its values after 26h, the rules need 50h")
}
