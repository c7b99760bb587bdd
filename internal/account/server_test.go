package account

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/test/brokertest"
)

const (
	testBucket   = "limits"
	testStream   = "JOBS"
	testConsumer = "worker"
	patientFor   = 20 * time.Second
)

// provision makes the bucket, the stream and the consumer.
func provision(t testing.TB, js jetstream.JetStream) jetstream.KeyValue {
	t.Helper()
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: testBucket, TTL: time.Hour})
	require.NoError(t, err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: testStream, Subjects: []string{"jobs"}, Retention: jetstream.WorkQueuePolicy,
	})
	require.NoError(t, err)
	_, err = js.CreateConsumer(t.Context(), testStream, jetstream.ConsumerConfig{
		Durable: testConsumer, AckPolicy: jetstream.AckExplicitPolicy,
	})
	require.NoError(t, err)
	return kv
}

// onServer returns a breaker on the server and keeps it running.
func onServer(t testing.TB, js jetstream.JetStream, worker string) replica {
	t.Helper()
	b, err := Open(t.Context(), js, Options{Bucket: testBucket, Stream: testStream, Consumer: testConsumer, Worker: worker})
	require.NoError(t, err)
	running(t, b)
	return replica{b, t}
}

// pauseLeft returns what is left of the consumer's pause, as its info shows it.
func pauseLeft(t testing.TB, js jetstream.JetStream) time.Duration {
	t.Helper()
	consumer, err := js.Consumer(t.Context(), testStream, testConsumer)
	require.NoError(t, err)
	info, err := consumer.Info(t.Context())
	require.NoError(t, err)
	assert.Equal(t, info.Paused, info.PauseRemaining > 0)
	return info.PauseRemaining
}

func (r replica) becomes(phase Phase) {
	r.t.Helper()
	require.Eventually(r.t, func() bool { return r.State().Phase == phase }, patientFor, time.Millisecond)
}

// getsProbe asks until the probe is granted.
func (r replica) getsProbe() {
	r.t.Helper()
	require.Eventually(r.t, func() bool {
		got, err := r.Admit(context.Background())
		return err == nil && got.Probe
	}, patientFor, 5*time.Millisecond)
}

func TestServerRound(t *testing.T) {
	t.Parallel()
	h := brokertest.Server(t)
	_, jsA := h.Connect()
	_, jsB := h.Connect()
	provision(t, jsA)
	const short = 500 * time.Millisecond
	a, b := onServer(t, jsA, "a"), onServer(t, jsB, "b")
	a.first, b.first = short, short
	a.admits(allowed)
	b.admits(allowed)

	until, err := a.Trip(t.Context(), "isv.AMOUNT_NOT_ENOUGH", "no balance")
	require.NoError(t, err)
	left := pauseLeft(t, jsB)
	assert.Positive(t, left)
	assert.LessOrEqual(t, left, short)
	b.becomes(PhasePaused)
	assert.Equal(t, "a", b.State().Worker)
	assert.True(t, until.Equal(b.State().Until), "%s %s", until, b.State().Until)

	// The server holds the job back for as long as the pause lasts.
	_, err = jsA.Publish(t.Context(), "jobs", []byte("job"))
	require.NoError(t, err)
	consumer, err := jsA.Consumer(t.Context(), testStream, testConsumer)
	require.NoError(t, err)
	msg, err := consumer.Next(jetstream.FetchMaxWait(patientFor))
	require.NoError(t, err)
	assert.False(t, time.Now().Before(until.Add(-50*time.Millisecond)), "delivered in the pause")
	require.NoError(t, msg.Ack())

	b.getsProbe()
	a.becomes(PhaseProbing)
	_, err = b.Trip(t.Context(), "isv.AMOUNT_NOT_ENOUGH", "no balance")
	require.NoError(t, err)
	assert.Greater(t, pauseLeft(t, jsA), short, "twice as long")
	a.becomes(PhasePaused)
	a.getsProbe()
	require.NoError(t, a.Passed(t.Context()))
	b.becomes(PhaseOpen)
	b.admits(allowed)
	assert.Zero(t, pauseLeft(t, jsA))
}

func TestServerKeepsTheStateOverRestarts(t *testing.T) {
	t.Parallel()
	h := brokertest.Server(t)
	_, js := h.Connect()
	provision(t, js)
	a := onServer(t, js, "a")
	_, err := a.Trip(t.Context(), "code", "text")
	require.NoError(t, err)

	h.Restart()
	_, js = h.Connect()
	b := onServer(t, js, "b") // a worker that starts in a pause
	assert.Equal(t, PhasePaused, b.State().Phase)
	assert.Greater(t, pauseLeft(t, js), 10*time.Second)

	// a's watch survives the restart.
	require.EventuallyWithT(t, func(t *assert.CollectT) {
		_, err := b.Resume(context.Background())
		require.NoError(t, err)
		assert.False(t, a.State().Until.After(time.Now()))
	}, patientFor, 10*time.Millisecond)
	assert.Zero(t, pauseLeft(t, js))
	a.getsProbe()
}

func TestServerMissingThings(t *testing.T) {
	t.Parallel()
	nc, js := brokertest.Start(t)
	_, err := Open(t.Context(), js, Options{Bucket: testBucket})
	require.ErrorContains(t, err, `no bucket "limits"`)

	_, err = js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: testBucket})
	require.NoError(t, err)
	a := onServer(t, js, "a")
	began := time.Now()
	until, err := a.Trip(t.Context(), "code", "text")
	require.ErrorIs(t, err, jetstream.ErrStreamNotFound)
	assert.ErrorContains(t, err, "look at the consumer")
	assert.Less(t, time.Since(began), retry.Request.Total, "a consumer that is missing is not waited for")
	assert.True(t, until.After(began))
	a.becomes(PhasePaused)

	nc.Close()
	_, err = a.Resume(t.Context())
	require.ErrorIs(t, err, nats.ErrConnectionClosed)
}

// TestServerStopped: Run outlives a server that is away, and ends when told to.
func TestServerStopped(t *testing.T) {
	t.Parallel()
	h := brokertest.Server(t)
	_, js := h.Connect()
	provision(t, js)
	o := Options{Bucket: testBucket, Stream: testStream, Consumer: testConsumer, Worker: "a"}
	g, err := Open(t.Context(), js, o)
	require.NoError(t, err)
	stop := running(t, g)
	h.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = g.Trip(ctx, "code", "text")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	replica{g, t}.admits(allowed)
	_, err = Open(ctx, js, o)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	stop()
}

func TestServerHoldAndResume(t *testing.T) {
	t.Parallel()
	_, js := brokertest.Start(t)
	provision(t, js)
	a := onServer(t, js, "a")
	p := a.holds(time.Hour, "reason")
	assert.Greater(t, pauseLeft(t, js), 59*time.Minute)
	left, now, err := a.consumer.Paused(t.Context())
	require.NoError(t, err)
	known, ok := a.knows(now.Add(left))
	assert.True(t, ok, "the end is recognised from what the server tells")
	assert.Equal(t, p.Reason, known.Reason)

	p = a.holds(0, "")
	assert.Greater(t, pauseLeft(t, js), 100*365*24*time.Hour)
	left, now, err = a.consumer.Paused(t.Context())
	require.NoError(t, err)
	known, ok = a.knows(now.Add(left))
	assert.True(t, ok)
	assert.False(t, known.Until.Before(Forever))
	assert.Equal(t, p, a.resumes().Pause)
	assert.Zero(t, pauseLeft(t, js))
}
