package health

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/brokertest"
)

func TestMonitor(t *testing.T) {
	t.Parallel()
	server := brokertest.Server(t)
	nc, js := server.Connect()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	account := ""
	m := New(js, "JOBS", "w", nc.IsConnected, func() string { return account })
	look := func() []string {
		m.last = m.ask(ctx)
		return m.NotReady()
	}

	assert.Equal(t, []string{"broker: not asked yet"}, m.NotReady())
	assert.Equal(t, []string{"broker: stream JOBS does not exist"}, look())

	stream, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "JOBS", Subjects: []string{"jobs"}, Retention: jetstream.WorkQueuePolicy})
	require.NoError(t, err)
	assert.Equal(t, []string{"broker: consumer w does not exist"}, look())

	_, err = stream.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "w", AckPolicy: jetstream.AckExplicitPolicy})
	require.NoError(t, err)
	assert.Empty(t, look())
	assert.Zero(t, m.OldestAge())

	_, err = js.Publish(ctx, "jobs", nil)
	require.NoError(t, err)
	m.now = func() time.Time { return time.Now().Add(90 * time.Second) }
	assert.Empty(t, look())
	assert.InDelta(t, 90, m.OldestAge(), 10)
	assert.InDelta(t, 1, m.Waiting(), 0)
	assert.Zero(t, m.Outstanding())

	_, err = stream.PauseConsumer(ctx, "w", time.Now().Add(time.Minute))
	require.NoError(t, err)
	assert.Empty(t, look(), "an operator's pause is not the worker's fault")
	assert.InDelta(t, 1, m.Paused(), 0)

	account = "closed"
	assert.Equal(t, []string{"account: closed"}, look())

	server.Stop()
	require.Eventually(t, func() bool { return !nc.IsConnected() }, 10*time.Second, 5*time.Millisecond)
	assert.Contains(t, m.NotReady(), "broker: not connected")
}

func TestRunEndsWithItsContext(t *testing.T) {
	t.Parallel()
	nc, js := brokertest.Start(t)
	m := New(js, "JOBS", "w", nc.IsConnected, func() string { return "" })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		m.Run(ctx)
		close(done)
	}()
	require.Eventually(t, func() bool { return m.snapshot().asked }, 10*time.Second, time.Millisecond)
	cancel()
	<-done
}
