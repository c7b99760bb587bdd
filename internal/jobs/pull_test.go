package jobs_test

import (
	"bytes"
	"log/slog"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/jobs"
	"github.com/passcode-worker/passcode-worker/test/brokertest"
	"github.com/passcode-worker/passcode-worker/test/fake"
)

// TestARenewedPullLosesNothing: while jobs wait to be taken, the connection breaks, and more are asked for.
// Nothing that arrived may be dropped, since it would come again only when its lease runs out.
func TestARenewedPullLosesNothing(t *testing.T) {
	t.Parallel()
	nc, js := brokertest.Start(t)
	ctx := bounded(t)
	require.NoError(t, provision(ctx, js))
	const all, prefetch = 40, 4
	fill(ctx, t, js, all)
	source := newSource(js, prefetch)
	defer source.Drain()
	consumer, err := js.Consumer(ctx, "JOBS", "w")
	require.NoError(t, err)
	taken := 0
	take := func() {
		t.Helper()
		d, err := source.Next(ctx)
		require.NoError(t, err, "it waits for its lease")
		require.NoError(t, d.Ack())
		taken++
	}
	delivered := func() int {
		info, err := consumer.Info(ctx)
		if err != nil {
			return 0
		}
		return int(info.Delivered.Consumer)
	}
	for range 4 {
		take()
		take()
		// Every second one that is taken has two more asked for.
		require.Eventually(t, func() bool { return delivered() == taken+prefetch }, 10*time.Second, 5*time.Millisecond)
		require.NoError(t, nc.Flush())
		require.NoError(t, nc.ForceReconnect())
	}
	for taken < all {
		take()
	}
}

// slowRequest is a connection that takes its time over the second request for jobs, after the server has it.
type slowRequest struct {
	net.Conn
	requests *atomic.Int32
}

func (c slowRequest) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if bytes.Contains(b, []byte("CONSUMER.MSG.NEXT")) && c.requests.Add(1) == 2 {
		<-time.After(300 * time.Millisecond)
	}
	return n, err
}

type slowDialer struct{ requests atomic.Int32 }

func (d *slowDialer) Dial(network, address string) (net.Conn, error) {
	conn, err := net.DialTimeout(network, address, 10*time.Second)
	return slowRequest{conn, &d.requests}, err
}

// TestASlowRequestStallsNothing: all jobs that were asked for arrive while the next request is still being
// sent. The client's Consume asked for no more then, until its heartbeats were missed.
func TestASlowRequestStallsNothing(t *testing.T) {
	t.Parallel()
	// A buffer of one byte has each request written before the call of it returns.
	_, js := brokertest.Server(t).Connect(nats.SetCustomDialer(&slowDialer{}), nats.WriteBufferSize(1))
	ctx := bounded(t)
	require.NoError(t, provision(ctx, js))
	const all = 20
	fill(ctx, t, js, all)
	var log fake.Buffer
	source := jobs.NewSource(js, jobs.SourceOptions{
		Stream: "JOBS", Consumer: "w", Prefetch: 4, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	defer source.Drain()
	for range all {
		_, err := source.Next(ctx)
		require.NoError(t, err)
	}
	assert.Empty(t, log.String())
}

// TestAcks wait for others, and for nothing once the source is drained.
func TestAcks(t *testing.T) {
	t.Parallel()
	nc, js := brokertest.Start(t)
	ctx := bounded(t)
	require.NoError(t, provision(ctx, js))
	fill(ctx, t, js, 4)
	source := newSource(js, 4)
	acks, err := nc.SubscribeSync("$JS.ACK.>")
	require.NoError(t, err)
	var taken []domain.Delivery
	for range 4 {
		d, err := source.Next(ctx)
		require.NoError(t, err)
		taken = append(taken, d)
	}
	heard := func() {
		t.Helper()
		msg, err := acks.NextMsgWithContext(ctx)
		require.NoError(t, err)
		assert.Equal(t, "+ACK", string(msg.Data))
	}
	require.NoError(t, taken[0].Ack())
	require.NoError(t, taken[1].Ack())
	heard()
	heard()
	require.NoError(t, taken[2].Ack())
	source.Drain()
	require.NoError(t, taken[3].Ack())
	heard()
	heard()
	stream, err := js.Stream(ctx, "JOBS")
	require.NoError(t, err)
	require.EventuallyWithT(t, func(c *assert.CollectT) {
		info, err := stream.Info(ctx)
		require.NoError(c, err)
		assert.Zero(c, info.State.Msgs)
	}, 10*time.Second, 10*time.Millisecond)
}
