package deadletter_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/deadletter"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// records is what the worker knows of requests.
type records struct {
	mu   sync.Mutex
	byID map[string]passcode.Result
	err  error
}

func (r *records) Get(_ context.Context, id string) (passcode.Result, uint64, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	rec, ok := r.byID[id]
	switch {
	case r.err != nil:
		return passcode.Result{}, 0, r.err
	case !ok:
		return passcode.Result{}, 0, domain.ErrNotFound
	}
	return rec, 1, nil
}

func (r *records) set(id string, status passcode.Status, replays int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byID[id] = passcode.Result{RequestID: id, Replays: replays}.In(status)
}

// clinic is a broker with a jobs stream and a dead-letter stream.
type clinic struct {
	js      jetstream.JetStream
	store   *deadletter.Store
	jobs    jetstream.Stream
	records *records
	letters *deadletter.Browser
}

func open(t *testing.T, change func(*jetstream.StreamConfig)) *clinic {
	t.Helper()
	c := &clinic{records: &records{byID: map[string]passcode.Result{}}}
	c.store, _, c.js = start(t)
	config := jetstream.StreamConfig{
		Name: "PASSCODE", Subjects: []string{"passcode.send"}, Retention: jetstream.WorkQueuePolicy,
		Discard: jetstream.DiscardNew, Duplicates: 2 * time.Minute, AllowDirect: true,
	}
	if change != nil {
		change(&config)
	}
	var err error
	c.jobs, err = c.js.CreateStream(t.Context(), config)
	require.NoError(t, err)
	c.letters = browse(t, c.js)
	return c
}

func (c *clinic) replayer() *deadletter.Replayer {
	return &deadletter.Replayer{
		Browser: c.letters, Records: c.records, Stream: "PASSCODE", Subject: "passcode.send",
		Life: deadletter.Life{PasscodeTTL: 10 * time.Minute}, Now: func() time.Time { return now },
	}
}

// die dead-letters request n, with its record.
func (c *clinic) die(t *testing.T, n int) {
	t.Helper()
	put(t, c.store, n, func(d *domain.DeadLetter) {
		d.Replays = 0
		d.Body = fmt.Appendf(nil, `{"request_id":"r%d","phone":"+8613800000001","code":"pq7z9x"}`, n)
	})
	c.records.set(fmt.Sprintf("r%d", n), passcode.StatusDeadLettered, 0)
}

func (c *clinic) queued(t *testing.T) uint64 {
	t.Helper()
	return stored(t, c.jobs)
}

func (c *clinic) dead(t *testing.T) []string {
	t.Helper()
	return ids(t, c.letters.OldestFirst(t.Context(), deadletter.Filter{}))
}

func atOnce(context.Context) error { return nil }

func (c *clinic) replay(t *testing.T, seq uint64) deadletter.Plan {
	t.Helper()
	step := c.replayer().Replay(t.Context(), t.Context(), seq, atOnce)
	require.NoError(t, step.Err)
	return step.Plan
}

func TestReplayPublishesTheJobAndRemovesTheDeadLetter(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	c.die(t, 1)
	plan := c.replay(t, 1)
	assert.Equal(t, deadletter.Replayed, plan.Action)
	assert.Empty(t, c.dead(t))
	msg, err := c.jobs.GetMsg(t.Context(), 1)
	require.NoError(t, err)
	assert.Equal(t, "1", msg.Header.Get("Passcode-Replay"))
	assert.Equal(t, "r1-replay-1", msg.Header.Get(nats.MsgIdHdr))
	assert.Equal(t, "2026-01-02T03:04:06.500000678Z", msg.Header.Get("Passcode-Attempted-At"))
	assert.Equal(t, traceParent, msg.Header.Get("traceparent"))
	assert.Equal(t, "a=b,c=d", msg.Header.Get("tracestate"))
	job, err := passcode.Decode(msg.Data)
	require.NoError(t, err)
	assert.Equal(t, "pq7z9x", job.Code.Reveal())
	assert.True(t, job.ExpiresAt.Equal(queuedAt.Add(10*time.Minute)))

	assert.Equal(t, deadletter.Gone, c.replay(t, 1).Action)
	assert.EqualValues(t, 1, c.queued(t))
}

// TestReplayCutOffIsFinishedByTheNext: the job was published, and its dead letter
// still stands.
func TestReplayCutOffIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	nothing := func(*records) {}
	becomes := func(status passcode.Status) func(*records) {
		return func(r *records) { r.set("r1", status, 1) }
	}
	for _, test := range []struct {
		name            string
		before, between func(*records) // what the worker made of it before the plan, and between plan and publish
		action          deadletter.Action
		cause           string
		dead            int
	}{
		{"sent", becomes(passcode.StatusSent), nothing, deadletter.Already, "", 0},
		{"being sent", becomes(passcode.StatusSending), nothing, deadletter.Already, "", 0},
		{"not taken up yet", nothing, nothing, deadletter.Refused, deadletter.CauseQueued, 1},
		{"taken up while waiting", nothing, becomes(passcode.StatusSent), deadletter.Already, "", 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := open(t, nil)
			c.die(t, 1)
			_, err := c.js.Publish(t.Context(), "passcode.send", []byte("the job"), jetstream.WithMsgID("r1-replay-1"))
			require.NoError(t, err)
			test.before(c.records)
			step := c.replayer().Replay(t.Context(), t.Context(), 1, func(context.Context) error {
				test.between(c.records)
				return nil
			})
			require.NoError(t, step.Err)
			assert.Equal(t, test.action, step.Action)
			assert.Equal(t, test.cause, step.Cause)
			assert.Len(t, c.dead(t), test.dead)
			assert.EqualValues(t, 1, c.queued(t), "published once")
		})
	}
}

func TestTwoReplaysAtOnceSendOnce(t *testing.T) {
	t.Parallel()
	const n = 100
	c := open(t, nil)
	for i := 1; i <= n; i++ {
		c.die(t, i)
	}
	// A worker that takes up what is published.
	consumer, err := c.jobs.CreateConsumer(t.Context(), jetstream.ConsumerConfig{AckPolicy: jetstream.AckExplicitPolicy})
	require.NoError(t, err)
	taken := map[string]int{}
	var mu sync.Mutex
	consuming, err := consumer.Consume(func(msg jetstream.Msg) {
		job, err := passcode.Decode(msg.Data())
		assert.NoError(t, err)
		c.records.set(job.RequestID, passcode.StatusSent, 1)
		mu.Lock()
		taken[job.RequestID]++
		mu.Unlock()
		assert.NoError(t, msg.Ack())
	})
	require.NoError(t, err)
	defer consuming.Stop()

	var wg sync.WaitGroup
	actions := make([]map[deadletter.Action]int, 4)
	for k := range actions {
		actions[k] = map[deadletter.Action]int{}
		wg.Go(func() {
			r := c.replayer()
			for seq := uint64(1); seq <= n; seq++ {
				step := r.Replay(t.Context(), t.Context(), seq, atOnce)
				assert.NoError(t, step.Err)
				actions[k][step.Action]++
			}
		})
	}
	wg.Wait()
	total := 0
	for _, a := range actions {
		total += a[deadletter.Replayed]
		assert.Zero(t, a[deadletter.Refused]+a[deadletter.Failed])
	}
	assert.Equal(t, n, total)
	assert.Empty(t, c.dead(t))
	require.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(taken) == n }, 10*time.Second, time.Millisecond)
	mu.Lock()
	defer mu.Unlock()
	for id, times := range taken {
		assert.Equal(t, 1, times, id)
	}
}

func TestReplayThatCannotBePublishedKeepsTheDeadLetter(t *testing.T) {
	t.Parallel()
	full := open(t, func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 })
	full.die(t, 1)
	_, err := full.js.Publish(t.Context(), "passcode.send", []byte("in the way"))
	require.NoError(t, err)
	hasty := retry.Policy{Total: 2 * time.Second, First: 100 * time.Millisecond, Longest: time.Second}.Context(t.Context())
	step := full.replayer().Replay(hasty, hasty, 1, atOnce)
	require.ErrorContains(t, step.Err, "maximum messages exceeded")
	assert.Equal(t, deadletter.Failed, step.Action)
	assert.Len(t, full.dead(t), 1)

	stopped := open(t, nil)
	stopped.die(t, 1)
	stopping, stop := context.WithCancel(t.Context())
	step = stopped.replayer().Replay(t.Context(), stopping, 1, func(ctx context.Context) error {
		stop()
		return ctx.Err()
	})
	require.ErrorIs(t, step.Err, context.Canceled)
	assert.Len(t, stopped.dead(t), 1)
	assert.Zero(t, stopped.queued(t))

	elsewhere := open(t, func(c *jetstream.StreamConfig) { c.Name = "OTHER" })
	elsewhere.die(t, 1)
	step = elsewhere.replayer().Replay(t.Context(), t.Context(), 1, atOnce)
	require.Error(t, step.Err, "another stream took the subject")
	assert.Len(t, elsewhere.dead(t), 1)
}

// TestWhatHasBegunIsFinished: the command is stopped between its permit and the
// publish.
func TestWhatHasBegunIsFinished(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	c.die(t, 1)
	stopping, stop := context.WithCancel(t.Context())
	step := c.replayer().Replay(t.Context(), stopping, 1, func(context.Context) error { stop(); return nil })
	require.NoError(t, step.Err)
	assert.Equal(t, deadletter.Replayed, step.Action)
	assert.Empty(t, c.dead(t))
}

func TestPlanWithoutARecordThatCanBeRead(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	c.die(t, 1)
	s, err := c.letters.Get(t.Context(), 1)
	require.NoError(t, err)
	c.records.err = fmt.Errorf("x: %w", domain.ErrCorrupt)
	plan, err := c.replayer().Plan(t.Context(), s)
	require.NoError(t, err)
	assert.Equal(t, deadletter.CauseCorrupt, plan.Cause)
	c.records.err = errors.New("the broker is away")
	_, err = c.replayer().Plan(t.Context(), s)
	require.ErrorContains(t, err, "away")
}
