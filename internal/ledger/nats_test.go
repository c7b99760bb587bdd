package ledger_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/brokertest"
	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/ledger"
	"github.com/passcode-worker/passcode-worker/passcode"
)

func TestOpenNeedsTheBucket(t *testing.T) {
	t.Parallel()
	_, js := brokertest.Start(t)
	_, err := ledger.Open(t.Context(), js, "requests")
	require.ErrorIs(t, err, bucket.ErrMissing)
}

func TestOpenIsBoundedByItsContext(t *testing.T) {
	t.Parallel()
	srv := brokertest.Server(t)
	_, js := srv.Connect()
	srv.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := ledger.Open(ctx, js, "requests")
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

// A replica that is behind could say of a request that it is under way when it is
// long settled, and the repeated job would be dropped without an answer; and one
// that is cut off would not answer at all.
func TestOnlyTheLeaderIsAsked(t *testing.T) {
	t.Parallel()
	nc, js := brokertest.Start(t)
	kv := makeBucket(t, js)
	l, err := ledger.Open(t.Context(), js, kv.Bucket())
	require.NoError(t, err)
	asked, err := nc.SubscribeSync("$JS.API.>")
	require.NoError(t, err)

	first, err := l.Claim(t.Context(), record("r", 1, "w"))
	require.NoError(t, err)
	_, _, err = l.Get(t.Context(), "r")
	require.NoError(t, err)
	_, err = l.Update(t.Context(), first.Record.In(passcode.StatusSent), first.Revision)
	require.NoError(t, err)
	duplicate, err := l.Claim(t.Context(), record("r", 2, "w"))
	require.NoError(t, err)
	assert.Equal(t, domain.ClaimDuplicate, duplicate.State)
	require.NoError(t, nc.Flush())
	requests, _, err := asked.Pending()
	require.NoError(t, err)
	assert.NotZero(t, requests)
	for range requests {
		msg, err := asked.NextMsgWithContext(t.Context())
		require.NoError(t, err)
		assert.Equal(t, "$JS.API.STREAM.MSG.GET.KV_requests", msg.Subject)
	}
}

// Workers go on claiming and settling while the broker is restarted under them.
// Every request ends with exactly the writes that its worker made.
func TestABrokerRestartLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	srv := brokertest.Server(t)
	_, js := srv.Connect(nats.ReconnectBufSize(-1))
	kv := makeBucket(t, js)
	l, err := ledger.Open(t.Context(), js, "requests")
	require.NoError(t, err)

	const workers, each = 8, 40
	halfway := make(chan struct{}, workers)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range each {
				id := fmt.Sprintf("w%d-%d", w, i)
				claim, err := l.Claim(t.Context(), record(id, uint64(w*each+i+1), "w"))
				if !assert.NoError(t, err) || !assert.Equal(t, domain.ClaimWon, claim.State, id) {
					return
				}
				next, err := l.Update(t.Context(), claim.Record.In(passcode.StatusSent), claim.Revision)
				if !assert.NoError(t, err) || !assert.Greater(t, next, claim.Revision) {
					return
				}
				if i == each/4 {
					halfway <- struct{}{}
				}
			}
		})
	}
	for range workers / 2 {
		<-halfway
	}
	srv.Restart()
	wg.Wait()

	status, err := kv.Status(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, workers*each*2, status.Values(), "two writes a request")
	history, err := l.History(t.Context(), "w0-0")
	require.NoError(t, err)
	assert.Len(t, history, 2)
}
