package broker_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/test/brokertest"
)

// limitsTTL is for how long the limits bucket keeps its documents.
const limitsTTL = 25 * time.Hour

func states(items []broker.Item) map[string]broker.State {
	m := map[string]broker.State{}
	for _, item := range items {
		m[string(item.Kind)+" "+item.Name] = item.State
	}
	return m
}

// provision provisions what the settings want, which must succeed.
func provision(t *testing.T, js jetstream.JetStream, cfg config.Config, create bool) []broker.Item {
	t.Helper()
	items, err := broker.Provision(within(t, patience), js, cfg, limitsTTL, create)
	require.NoError(t, err)
	return items
}

func all(state broker.State) map[string]broker.State {
	return map[string]broker.State{
		"bucket passcode-requests": state, "bucket passcode-limits": state, "stream PASSCODE_DEAD": state,
		"stream PASSCODE": state, "consumer passcode-worker": state,
	}
}

// writes notes each request to the JetStream API that would change something.
func writes(t *testing.T, nc *nats.Conn) func() []string {
	t.Helper()
	sub, err := nc.SubscribeSync("$JS.API.>")
	require.NoError(t, err)
	require.NoError(t, nc.Flush())
	return func() []string {
		// What was sent before this came to the server before it, and is
		// delivered on this connection in that order.
		require.NoError(t, nc.Flush())
		n, _, err := sub.Pending()
		require.NoError(t, err)
		require.NotZero(t, n, "nothing was asked for")
		var subjects []string
		for range n {
			msg, err := sub.NextMsg(patience)
			require.NoError(t, err)
			if !strings.Contains(msg.Subject, ".INFO.") {
				subjects = append(subjects, msg.Subject)
			}
		}
		return subjects
	}
}

func configs(t *testing.T, js jetstream.JetStream) map[string]any {
	t.Helper()
	m := map[string]any{}
	for _, name := range []string{"KV_passcode-requests", "KV_passcode-limits", "PASSCODE_DEAD", "PASSCODE"} {
		s, err := js.Stream(t.Context(), name)
		require.NoError(t, err)
		m[name], m[name+" created"] = s.CachedInfo().Config, s.CachedInfo().Created
	}
	c, err := js.Consumer(t.Context(), "PASSCODE", "passcode-worker")
	require.NoError(t, err)
	m["consumer"], m["consumer created"] = c.CachedInfo().Config, c.CachedInfo().Created
	return m
}

func TestProvisionCreatesWhatIsMissingAndThenWritesNothing(t *testing.T) {
	t.Parallel()
	nc, js := brokertest.Start(t)
	items := provision(t, js, config.Default(), false)
	assert.Equal(t, all(broker.StateMissing), states(items))

	items = provision(t, js, config.Default(), true)
	assert.Equal(t, all(broker.StateCreated), states(items))
	before := configs(t, js)

	sent := writes(t, nc)
	for _, create := range []bool{true, false} {
		items = provision(t, js, config.Default(), create)
		assert.Equal(t, all(broker.StateEqual), states(items), "%+v", items)
	}
	assert.Empty(t, sent())
	assert.Empty(t, cmp.Diff(before, configs(t, js)))
}

func TestProvisionedConfiguration(t *testing.T) {
	t.Parallel()
	_, js := brokertest.Start(t)
	provision(t, js, config.Default(), true)
	have := configs(t, js)

	jobs := have["PASSCODE"].(jetstream.StreamConfig)
	assert.Equal(t, jetstream.WorkQueuePolicy, jobs.Retention)
	assert.Equal(t, jetstream.DiscardNew, jobs.Discard)
	assert.Equal(t, jetstream.FileStorage, jobs.Storage)
	assert.EqualValues(t, 1<<30, jobs.MaxBytes)
	assert.Equal(t, 2*time.Minute, jobs.Duplicates)
	assert.True(t, jobs.AllowDirect)

	dead := have["PASSCODE_DEAD"].(jetstream.StreamConfig)
	assert.Equal(t, []string{"passcode.dead.>"}, dead.Subjects)
	assert.Equal(t, jetstream.LimitsPolicy, dead.Retention)
	assert.EqualValues(t, 1, dead.MaxMsgsPerSubject)
	assert.EqualValues(t, -1, dead.MaxBytes)
	assert.Equal(t, 72*time.Hour, dead.MaxAge)

	consumer := have["consumer"].(jetstream.ConsumerConfig)
	assert.Equal(t, -1, consumer.MaxDeliver)
	assert.Equal(t, -1, consumer.MaxAckPending)
	assert.Equal(t, 30*time.Second, consumer.AckWait)
	assert.Equal(t, jetstream.AckExplicitPolicy, consumer.AckPolicy)
}

// The streams behind the buckets are spelled out by hand. They must be what the
// client library itself would make.
func TestBucketsAreWhatTheClientLibraryMakes(t *testing.T) {
	t.Parallel()
	_, ours := brokertest.Start(t)
	_, theirs := brokertest.Start(t)
	provision(t, ours, config.Default(), true)
	for _, bucket := range []jetstream.KeyValueConfig{
		{Bucket: "passcode-requests", Description: "requests of passcode-worker, the last state of each",
			History: 16, TTL: 24 * time.Hour, Storage: jetstream.FileStorage,
			RePublish: &jetstream.RePublish{Source: "$KV.passcode-requests.>", Destination: "passcode.result.>"}},
		{Bucket: "passcode-limits", Description: "limits of passcode-worker, one document a phone",
			TTL: 25 * time.Hour, Storage: jetstream.FileStorage},
	} {
		_, err := theirs.CreateKeyValue(t.Context(), bucket)
		require.NoError(t, err)
		want, err := theirs.Stream(t.Context(), "KV_"+bucket.Bucket)
		require.NoError(t, err)
		have, err := ours.Stream(t.Context(), "KV_"+bucket.Bucket)
		require.NoError(t, err)
		assert.Empty(t, cmp.Diff(want.CachedInfo().Config, have.CachedInfo().Config))
	}
}

func TestARecordIsRepublished(t *testing.T) {
	t.Parallel()
	nc, js := brokertest.Start(t)
	provision(t, js, config.Default(), true)
	results, err := nc.SubscribeSync("passcode.result.>")
	require.NoError(t, err)
	kv, err := js.KeyValue(t.Context(), "passcode-requests")
	require.NoError(t, err)
	_, err = kv.PutString(t.Context(), "01JD", "the record")
	require.NoError(t, err)
	msg, err := results.NextMsg(patience)
	require.NoError(t, err)
	assert.Equal(t, "passcode.result.01JD", msg.Subject)
	assert.Equal(t, "the record", string(msg.Data))
}

func TestProvisionReportsDifferencesAndLeavesThemAlone(t *testing.T) {
	t.Parallel()
	nc, js := brokertest.Start(t)
	provision(t, js, config.Default(), true)
	before := configs(t, js)
	sent := writes(t, nc)

	other := config.Default()
	other.Worker.AckWait = time.Minute
	other.Jobs.MaxBytes, other.Jobs.DuplicateWindow = 2<<30, 5*time.Minute
	other.Results.Subject, other.Results.Retention = "elsewhere", 48*time.Hour
	other.DeadLetters.Retention = 24 * time.Hour
	items, err := broker.Provision(within(t, patience), js, other, 0, true)
	require.NoError(t, err)
	assert.Equal(t, all(broker.StateDiffers), states(items))

	have := map[string][]broker.Difference{}
	for _, item := range items {
		have[item.Name] = item.Differences
	}
	assert.Empty(t, cmp.Diff(map[string][]broker.Difference{
		"PASSCODE": {
			{Field: "max_bytes", Want: "2147483648", Have: "1073741824"},
			{Field: "duplicate_window", Want: "5m0s", Have: "2m0s"},
		},
		"passcode-worker": {{Field: "ack_wait", Want: "1m0s", Have: "30s"}},
		"passcode-requests": {
			{Field: "max_age", Want: "48h0m0s", Have: "24h0m0s"},
			{Field: "republish", Want: `{"src":"$KV.passcode-requests.>","dest":"elsewhere.>"}`, Have: `{"src":"$KV.passcode-requests.>","dest":"passcode.result.>"}`},
		},
		"PASSCODE_DEAD":   {{Field: "max_age", Want: "24h0m0s", Have: "72h0m0s"}},
		"passcode-limits": {{Field: "max_age", Want: "0s", Have: "25h0m0s"}},
	}, have))
	assert.Equal(t, "ack_wait is 30s, the settings want 1m0s", have["passcode-worker"][0].String())
	assert.Empty(t, sent())
	assert.Empty(t, cmp.Diff(before, configs(t, js)))
}

func TestProvisionReportsAPushConsumerInOurPlace(t *testing.T) {
	t.Parallel()
	_, js := brokertest.Start(t)
	ctx := within(t, patience)
	provision(t, js, config.Default(), true)
	require.NoError(t, js.DeleteConsumer(ctx, "PASSCODE", "passcode-worker"))
	_, err := js.CreatePushConsumer(ctx, "PASSCODE", jetstream.ConsumerConfig{
		Durable: "passcode-worker", DeliverSubject: "inbox", AckPolicy: jetstream.AckExplicitPolicy,
	})
	require.NoError(t, err)
	items := provision(t, js, config.Default(), true)
	last := items[len(items)-1]
	assert.Equal(t, broker.StateDiffers, last.State)
	assert.Equal(t, "deliver_subject", last.Differences[0].Field)
}

func TestProvisionersOfTheSameMomentAllSucceed(t *testing.T) {
	t.Parallel()
	srv := brokertest.Server(t)
	const workers = 5
	var wg sync.WaitGroup
	errs := make([]error, workers)
	for i := range workers {
		_, js := srv.Connect()
		wg.Go(func() { _, errs[i] = broker.Provision(t.Context(), js, config.Default(), limitsTTL, true) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	_, js := srv.Connect()
	items := provision(t, js, config.Default(), false)
	assert.Equal(t, all(broker.StateEqual), states(items))
}

func TestProvisionErrorsNameTheThingAndTheRight(t *testing.T) {
	t.Parallel()
	jetStreamOff := func(o *server.Options) { o.JetStream = false }
	for name, test := range map[string]struct {
		server []func(*server.Options)
		change func(*config.Config)
		found  int // items before it
		want   []string
	}{
		"another consumer on the work queue": {
			nil, func(c *config.Config) { c.Jobs.Consumer = "second" }, 4,
			[]string{"consumer second: ", "$JS.API.CONSUMER.CREATE.PASSCODE.second.passcode.send"},
		},
		"replicas without a cluster": {
			nil, func(c *config.Config) { c.NATS.Replicas, c.Results.Bucket = 3, "other" }, 0,
			[]string{"bucket other: ", "$JS.API.STREAM.CREATE.KV_other"},
		},
		"no JetStream": {
			[]func(*server.Options){jetStreamOff}, func(*config.Config) {}, 0,
			[]string{"bucket passcode-requests: ", "is it enabled"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, js := brokertest.Server(t, test.server...).Connect()
			if test.server == nil {
				provision(t, js, config.Default(), true)
			}
			changed := config.Default()
			test.change(&changed)
			items, err := broker.Provision(within(t, 2*time.Second), js, changed, limitsTTL, true)
			assert.Len(t, items, test.found)
			for _, want := range test.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

// TestInspect: what is missing is not made, and one item that can't be seen does not
// hide the others.
func TestInspect(t *testing.T) {
	t.Parallel()
	_, js := brokertest.Start(t)
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "PASSCODE", Subjects: []string{"passcode.send"}})
	require.NoError(t, err)
	wrong := config.Default()
	wrong.Limits.Bucket = "a b"
	var seen []string
	for _, item := range broker.Items(wrong, limitsTTL) {
		err := item.Inspect(within(t, patience), js)
		seen = append(seen, fmt.Sprintf("%s %s: %s, %t, %t", item.Kind, item.Name, item.State, len(item.Differences) > 0, err != nil))
	}
	assert.Equal(t, []string{
		"bucket passcode-requests: missing, false, false",
		"bucket a b: , false, true",
		"stream PASSCODE_DEAD: missing, false, false",
		"stream PASSCODE: differs, true, false",
		"consumer passcode-worker: missing, false, false",
	}, seen)
}
