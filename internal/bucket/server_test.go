package bucket

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/passcode-worker/passcode-worker/internal/retry"
	"github.com/passcode-worker/passcode-worker/test/brokertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// FuzzReadEntry: whatever the broker answers, reading it neither panics nor takes
// anything but a stored value for one.
func FuzzReadEntry(f *testing.F) {
	f.Add([]byte(`{"message":{"subject":"$KV.things.a","seq":7,"data":"eA==","time":"2026-01-02T03:04:05Z"}}`))
	f.Add([]byte(`{"message":{"seq":8,"hdrs":"TkFUUy8xLjANCktWLU9wZXJhdGlvbjogREVMDQoNCg==","time":"2026-01-02T03:04:05Z"}}`))
	f.Add([]byte(`{"message":{"seq":9,"hdrs":"TkFUUy8xLjANCk5hdHMtTWFya2VyLVJlYXNvbjogTWF4QWdlDQoNCg=="}}`))
	f.Add([]byte(`{"error":{"code":404,"err_code":10037,"description":"no message found"}}`))
	f.Add([]byte(`{"error":null,"message":{"seq":-1,"data":"x"}}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, data []byte) {
		entry, err := readEntry(data)
		var found struct {
			Error   *jetstream.APIError `json:"error"`
			Message struct {
				Sequence uint64 `json:"seq"`
				Data     []byte `json:"data"`
			} `json:"message"`
		}
		if err != nil {
			require.Zero(t, entry)
			var refusal *jetstream.APIError
			require.True(t, errors.Is(err, jetstream.ErrInvalidJetStreamResponse) || errors.As(err, &refusal), "%v", err)
			return
		}
		require.NoError(t, json.Unmarshal(data, &found))
		if found.Error != nil { // that there is no message
			require.Zero(t, entry)
			return
		}
		require.Positive(t, entry.Revision, "a write over revision 0 would be a first one")
		require.Equal(t, found.Message.Sequence, entry.Revision)
		if entry.Value != nil {
			require.Equal(t, string(found.Message.Data), string(entry.Value))
		}
	})
}

// FuzzReadAck: the short way to read an acknowledgement finds what the long one does, or nothing.
func FuzzReadAck(f *testing.F) {
	f.Add([]byte(`{"stream":"KV_things","seq":7}`))
	f.Add([]byte(`{"stream":"KV_things","domain":"hub","seq":7}`))
	f.Add([]byte(`{"stream":"KV_things","seq":18446744073709551616}`))
	f.Add([]byte(`{"stream":"KV_things","seq":07}`))
	f.Add([]byte(`{"error":{"code":400,"err_code":10071,"description":"wrong last sequence: 5"},"stream":"KV_things","seq":0}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		next, err := readAck(data)
		require.Equal(t, err == nil, next > 0)
		if quick := plainAck(ackOf("KV_things"), data); quick > 0 {
			require.NoError(t, err)
			require.Equal(t, next, quick)
		}
	})
	require.Equal(f, uint64(7), plainAck(ackOf("KV_things"), []byte(`{"stream":"KV_things","seq":7}`)))
}

// TestGetOfABrokerInTrouble answers in the broker's place.
func TestGetOfABrokerInTrouble(t *testing.T) {
	t.Parallel()
	nc, js := brokertest.Server(t, func(o *server.Options) { o.JetStream = false }).Connect()
	get := func() error {
		_, err := natsServer{js: js, kv: named{}}.Get(t.Context(), "a")
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := natsServer{js: js, kv: named{}}.Get(ctx, "a")
	require.ErrorIs(t, err, nats.ErrNoResponders)

	answers := make(chan string, 1)
	_, err = nc.Subscribe("$JS.API.STREAM.MSG.GET.KV_things", func(m *nats.Msg) { assert.NoError(t, m.Respond([]byte(<-answers))) })
	require.NoError(t, err)
	for _, answer := range []string{
		``, `{}`, `[]`, `{"message":`, `{"message":{"seq":1,"data":"?"}}`, `{"message":{"seq":1,"hdrs":"TkFUUw==","data":""}}`,
		`{"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily unavailable"}}`,
	} {
		answers <- answer
		err := get()
		require.Error(t, err, answer)
		assert.True(t, retry.Temporary(err), "%s: %v", answer, err)
	}
}

// TestALateAnswerGoesToNobody: an inbox whose answer did not come in time is not used again.
func TestALateAnswerGoesToNobody(t *testing.T) {
	t.Parallel()
	nc, _ := brokertest.Server(t, func(o *server.Options) { o.JetStream = false }).Connect()
	asked := make(chan *nats.Msg, 2)
	_, err := nc.ChanSubscribe("$KV.things.a", asked)
	require.NoError(t, err)
	s := natsServer{kv: named{}, ack: ackOf("KV_things"), inboxes: &inboxes{nc: nc}}
	answer := func(msg *nats.Msg, text string) { assert.NoError(t, msg.Respond([]byte(text))) }

	wait := s.Begin("a", nil, 0)
	late := <-asked
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = wait(ctx)
	require.ErrorIs(t, err, context.Canceled)

	wait = s.Begin("a", nil, 0)
	second := <-asked
	answer(late, `{"stream":"KV_things","seq":1}`)
	answer(second, `{"stream":"KV_things","seq":2}`)
	next, err := wait(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 2, next)

	wait = s.Begin("a", nil, 0)
	third := <-asked
	assert.Equal(t, second.Reply, third.Reply, "an inbox whose answer came is")
	answer(third, `{"stream":"KV_things","seq":3}`)
	_, err = wait(t.Context())
	require.NoError(t, err)
	_, err = s.Begin("nobody", nil, 0)(t.Context())
	require.ErrorIs(t, err, nats.ErrNoResponders)
}

// named is a bucket that only has a name.
type named struct{ jetstream.KeyValue }

func (named) Bucket() string { return "things" }

// brokenWatch is a bucket whose watch can't be started, or ends at once.
type brokenWatch struct {
	jetstream.KeyValue
	jetstream.KeyWatcher
	hangs, late bool
}

func (w brokenWatch) Watch(ctx context.Context, _ string, _ ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	if w.hangs || w.late {
		<-ctx.Done()
	}
	if w.hangs {
		return nil, ctx.Err()
	}
	return w, nil
}

func (w brokenWatch) Updates() <-chan jetstream.KeyValueEntry {
	closed := make(chan jetstream.KeyValueEntry)
	close(closed)
	return closed
}

func (w brokenWatch) Stop() error { return nil }

func TestWatchThatDoesNotStart(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		watch brokenWatch
		want  error
		after time.Duration
	}{
		"never starts":       {brokenWatch{hangs: true}, retry.ErrGaveUp, watchStart},
		"starts at the last": {brokenWatch{late: true}, retry.ErrGaveUp, watchStart},
		"ends at once":       {brokenWatch{}, errWatchEnded, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				err := natsServer{kv: test.watch}.Watch(t.Context(), "a", func(Entry) { t.Error("called") })
				require.ErrorIs(t, err, test.want)
				assert.Equal(t, test.after, time.Since(began))
			})
		})
	}
}
