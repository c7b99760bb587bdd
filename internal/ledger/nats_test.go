package ledger_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/bucket"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/ledger"
	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/brokertest"
	"github.com/passcode-worker/passcode-worker/test/buckettest"
)

func TestOpenNeedsTheBucket(t *testing.T) {
	t.Parallel()
	_, js := brokertest.Start(t)
	_, err := ledger.Open(t.Context(), js, buckettest.Name)
	require.ErrorIs(t, err, bucket.ErrMissing)
}

// Workers go on claiming and settling while the broker is restarted under them.
// Every request ends with exactly the writes that its worker made.
func TestABrokerRestartLosesAndDoublesNothing(t *testing.T) {
	t.Parallel()
	srv := brokertest.Server(t)
	_, js := srv.Connect(nats.ReconnectBufSize(-1))
	kv := buckettest.Make(t, js)
	l, err := ledger.Open(t.Context(), js, buckettest.Name)
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
