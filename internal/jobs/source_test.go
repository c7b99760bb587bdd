package jobs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/jobs"
	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/brokertest"
)

const ackWait = 30 * time.Second

// provision creates the stream and the consumer of these tests.
func provision(ctx context.Context, js jetstream.JetStream) error {
	_, err := js.CreateStream(ctx, jetstream.StreamConfig{
		Name: "JOBS", Subjects: []string{"jobs"}, Retention: jetstream.WorkQueuePolicy,
	})
	if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return err
	}
	_, err = js.CreateConsumer(ctx, "JOBS", jetstream.ConsumerConfig{
		Durable: "w", AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: -1,
	})
	if errors.Is(err, jetstream.ErrConsumerExists) {
		return nil
	}
	return err
}

func newSource(js jetstream.JetStream, prefetch int) *jobs.Source {
	return jobs.NewSource(js, jobs.SourceOptions{
		Stream: "JOBS", Consumer: "w", Prefetch: prefetch,
		Repair: func(ctx context.Context) error { return provision(ctx, js) },
		Logger: slog.New(slog.DiscardHandler),
	})
}

func fill(ctx context.Context, t *testing.T, js jetstream.JetStream, n int) {
	t.Helper()
	for i := range n {
		_, err := js.Publish(ctx, "jobs", fmt.Append(nil, i))
		require.NoError(t, err)
	}
}

func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestNextGivesTheJobAndWhereItCameFrom(t *testing.T) {
	t.Parallel()
	nc, js := brokertest.Start(t)
	ctx := bounded(t)
	require.NoError(t, provision(ctx, js))
	source := newSource(js, 4)
	defer source.Drain()

	job := passcode.Job{RequestID: "r1", Phone: passcode.NewPhone("+8613812345678"), Code: passcode.NewPasscode("004213")}
	duplicate, err := jobs.Publish(ctx, js, "jobs", job)
	require.NoError(t, err)
	assert.False(t, duplicate)
	duplicate, err = jobs.Publish(ctx, js, "jobs", job)
	require.NoError(t, err)
	assert.True(t, duplicate, "the stream drops a repeated publish")

	d, err := source.Next(ctx)
	require.NoError(t, err)
	assert.Equal(t, "JOBS", d.Origin().Stream)
	assert.Equal(t, uint64(1), d.Origin().Seq)
	assert.Equal(t, "jobs", d.Origin().Subject)
	assert.WithinDuration(t, time.Now(), d.Origin().QueuedAt, 10*time.Second)
	assert.Equal(t, "r1", d.Header("Nats-Msg-Id"))
	assert.Empty(t, d.Header("traceparent"))
	got, err := passcode.Decode(d.Body())
	require.NoError(t, err)
	assert.Equal(t, "004213", got.Code.Reveal())

	require.NoError(t, d.Extend())
	require.NoError(t, d.Nak(20*time.Millisecond))
	d, err = source.Next(ctx)
	require.NoError(t, err, "it comes again")
	require.NoError(t, d.Nak(0))
	d, err = source.Next(ctx)
	require.NoError(t, err)
	require.NoError(t, d.Term("given up: because"))
	require.NoError(t, nc.Flush())
	stream, err := js.Stream(ctx, "JOBS")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		info, err := stream.Info(ctx)
		return err == nil && info.State.Msgs == 0
	}, 5*time.Second, 5*time.Millisecond, "a job that was given up is gone from the work queue")
}

func TestPublishRefusesAWrongJob(t *testing.T) {
	t.Parallel()
	_, err := jobs.Publish(t.Context(), nil, "jobs", passcode.Job{RequestID: "r1"})
	var invalid *passcode.InvalidError
	require.ErrorAs(t, err, &invalid)
}

// TestDrain: what has arrived comes out, so that it can be requeued, and then ErrDrained.
func TestDrain(t *testing.T) {
	t.Parallel()
	_, js := brokertest.Start(t)
	ctx := bounded(t)
	require.NoError(t, provision(ctx, js))
	fill(ctx, t, js, 50)
	source := newSource(js, 16)
	taken := 0
	for range 3 {
		d, err := source.Next(ctx)
		require.NoError(t, err)
		require.NoError(t, d.Ack())
		taken++
	}
	source.Drain()
	source.Drain() // twice is once
	for {
		d, err := source.Next(ctx)
		if errors.Is(err, domain.ErrDrained) {
			break
		}
		require.NoError(t, err)
		require.NoError(t, d.Nak(0))
		taken++
	}
	assert.Less(t, taken, 50)

	// None is left to its lease: another worker gets all the rest at once.
	other := newSource(js, 64)
	defer other.Drain()
	began := time.Now()
	for range 47 {
		d, err := other.Next(ctx)
		require.NoError(t, err)
		require.NoError(t, d.Ack())
	}
	assert.Less(t, time.Since(began), ackWait/2)
}

func TestDrainBeforeAndWhileOpening(t *testing.T) {
	t.Parallel()
	_, js := brokertest.Start(t)
	source := jobs.NewSource(js, jobs.SourceOptions{
		Stream: "NONE", Consumer: "w", Prefetch: 4, Logger: slog.New(slog.DiscardHandler),
		Repair: func(context.Context) error { return errors.New("not allowed") },
	})
	ended := make(chan error, 1)
	go func() {
		_, err := source.Next(bounded(t))
		ended <- err
	}()
	source.Drain()
	require.ErrorIs(t, <-ended, domain.ErrDrained)
	_, err := source.Next(bounded(t))
	require.ErrorIs(t, err, domain.ErrDrained)
}

func TestNextEndsWithItsContext(t *testing.T) {
	t.Parallel()
	_, js := brokertest.Start(t)
	require.NoError(t, provision(bounded(t), js))
	source := newSource(js, 4)
	defer source.Drain()
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := source.Next(ctx)
		ended <- err
	}()
	cancel(why)
	require.ErrorIs(t, <-ended, why)
}

// TestSourceOutlivesBrokerAndConsumer: jobs flow again after the consumer was deleted, after the broker went
// away and came back, and after it came back with nothing.
func TestSourceOutlivesBrokerAndConsumer(t *testing.T) {
	t.Parallel()
	var store string
	broker := brokertest.Server(t, func(o *server.Options) { store = o.StoreDir })
	_, js := broker.Connect()
	ctx := bounded(t)
	require.NoError(t, provision(ctx, js))
	source := newSource(js, 4)
	taken := make(chan string, 100)
	var taking sync.WaitGroup
	defer taking.Wait()
	defer source.Drain()
	taking.Go(func() {
		for {
			d, err := source.Next(ctx)
			if err != nil {
				assert.ErrorIs(t, err, domain.ErrDrained)
				return
			}
			assert.NoError(t, d.Ack())
			taken <- string(d.Body())
		}
	})
	next := 0
	take := func() {
		t.Helper()
		next++
		want := strconv.Itoa(next)
		require.Eventually(t, func() bool {
			_, err := js.Publish(ctx, "jobs", []byte(want))
			return err == nil
		}, 10*time.Second, 20*time.Millisecond)
		// One whose answer or whose acknowledgement was lost comes twice.
		for got := ""; got != want; {
			select {
			case got = <-taken:
			case <-ctx.Done():
				require.Fail(t, "the job does not come", want)
			}
		}
	}
	take()
	require.NoError(t, js.DeleteConsumer(ctx, "JOBS", "w"))
	take()
	broker.Stop()
	broker.Restart()
	take()
	broker.Stop()
	require.NoError(t, os.RemoveAll(store))
	broker.Restart()
	take()
}

func TestAnnounce(t *testing.T) {
	t.Parallel()
	nc, js := brokertest.Start(t)
	sub, err := nc.SubscribeSync("answers.>")
	require.NoError(t, err)
	want := passcode.Result{RequestID: "r1", Metadata: map[string]string{"k": "v"}}.In(passcode.StatusSent)
	require.NoError(t, newSource(js, 1).Announce("answers.x", want))
	msg, err := sub.NextMsg(5 * time.Second)
	require.NoError(t, err)
	var got passcode.Result
	require.NoError(t, json.Unmarshal(msg.Data, &got))
	assert.Equal(t, want, got)

	nc.Close()
	require.Error(t, newSource(js, 1).Announce("answers.x", want))
}

// TestWaits: a job is known by its place and its request.
func TestWaits(t *testing.T) {
	t.Parallel()
	_, js := brokertest.Start(t)
	ctx := bounded(t)
	s := newSource(js, 1)
	_, err := s.Waits(ctx, 1, "r1")
	require.ErrorIs(t, err, jetstream.ErrStreamNotFound, "whether it waits is not known")
	require.NoError(t, provision(ctx, js))
	for _, body := range []string{`{"request_id":"r1","phone":"+1"}`, `{`} {
		_, err := js.Publish(ctx, "jobs", []byte(body))
		require.NoError(t, err)
	}
	for _, row := range []struct {
		seq  uint64
		id   string
		want bool
	}{{1, "r1", true}, {1, "r2", false}, {2, "r1", false}, {3, "r1", false}} {
		waits, err := s.Waits(ctx, row.seq, row.id)
		require.NoError(t, err)
		assert.Equal(t, row.want, waits, "%d %s", row.seq, row.id)
	}
	stream, err := js.Stream(ctx, "JOBS")
	require.NoError(t, err)
	require.NoError(t, stream.Purge(ctx))
	waits, err := s.Waits(ctx, 1, "r1")
	require.NoError(t, err)
	assert.False(t, waits)
}
