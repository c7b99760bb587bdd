package deadletter_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
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

	"github.com/passcode-worker/passcode-worker/internal/deadletter"
	"github.com/passcode-worker/passcode-worker/internal/domain"
	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/brokertest"
)

// The names are spelled out: they are the wire format, and a renamed constant
// must not change it.
func TestEveryHeader(t *testing.T) {
	t.Parallel()
	store, stream, _ := start(t)
	require.NoError(t, store.Write(t.Context(), letter("the job")))

	msg := last(t, stream, "passcode.dead.config.01JD-x_Y")
	assert.Equal(t, "the job", string(msg.Data))
	have := map[string][]string(msg.Header)
	for name := range have { // what a direct get adds
		if strings.HasPrefix(name, "Nats-") && name != "Nats-Msg-Id" && name != "Nats-Expected-Stream" {
			delete(have, name)
		}
	}
	entry, err := deadletter.Parse(msg.Header, msg.Data)
	require.NoError(t, err)
	assert.Equal(t, letter("the job"), entry.DeadLetter, "what was written is read")
	assert.True(t, entry.DeadAt.Equal(deadAt))
	assert.Equal(t, "host-1", entry.Worker)
	assert.Equal(t, len("the job"), entry.BodySize)
	assert.False(t, entry.Truncated)
	assert.Empty(t, cmp.Diff(map[string][]string{
		"Passcode-Reason":         {"config"},
		"Passcode-Error-Code":     {"isv.SMS_TEMPLATE_ILLEGAL"},
		"Passcode-Error-Message":  {"模板不合法"},
		"Passcode-Request-Id":     {"01JD-x_Y"},
		"Passcode-Attempts":       {"2"},
		"Passcode-Origin-Stream":  {"PASSCODE"},
		"Passcode-Origin-Seq":     {"42"},
		"Passcode-Origin-Subject": {"passcode.send"},
		"Passcode-Queued-At":      {"2026-01-02T03:04:05.000000678Z"},
		"Passcode-Dead-At":        {"2026-01-02T03:04:06.789Z"},
		"Passcode-Worker":         {"host-1"},
		"Passcode-Replays":        {"1"},
		"Passcode-Attempted-At":   {"2026-01-02T03:04:06.500000678Z"},
		"Nats-Msg-Id":             {"PASSCODE-42-1"},
		"Nats-Expected-Stream":    {"PASSCODE_DEAD"},
		"traceparent":             {traceParent},
		"tracestate":              {"a=b,c=d"},
	}, have))
}

func TestAJobWithoutARequestIDIsNamedByItsSequence(t *testing.T) {
	t.Parallel()
	store, stream, _ := start(t)
	for _, reason := range passcode.Reasons() {
		d := letter("job")
		d.Reason, d.RequestID, d.TraceParent, d.TraceState = reason, "", "", ""
		d.Origin.Seq += uint64(len(reason)) // another job each
		d.Origin.Seq += uint64(reason[0])
		require.NoError(t, store.Write(t.Context(), d))
		msg := last(t, stream, fmt.Sprintf("passcode.dead.%s.seq-%d", reason, d.Origin.Seq))
		assert.Equal(t, []string{""}, msg.Header.Values("Passcode-Request-Id"))
		assert.Empty(t, msg.Header.Values("traceparent"))
	}
}

func TestTheBodyIsUntouched(t *testing.T) {
	t.Parallel()
	store, stream, _ := start(t)
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for i, body := range []string{"", "\x00", "\xff\xfe", "\r\n\r\nNATS/1.0\r\n", string(every), strings.Repeat("x", 500_000)} {
		d := letter(body)
		d.Origin.Seq = uint64(i + 1)
		require.NoError(t, store.Write(t.Context(), d))
		msg := last(t, stream, "passcode.dead.config.01JD-x_Y")
		assert.True(t, bytes.Equal([]byte(body), msg.Data), "body %d", i)
		assert.Empty(t, msg.Header.Get("Passcode-Body-Truncated"))
		assert.Empty(t, msg.Header.Get("Passcode-Body-Size"))
	}
}

func TestNoHeaderCanBeInjected(t *testing.T) {
	t.Parallel()
	store, stream, _ := start(t)
	d := letter("job")
	d.ErrorCode = "a\r\nPasscode-Reason: poison"
	d.ErrorMessage = "  one\r\n\r\nbody\x00\x7f\u2028\u0085two\xff " + strings.Repeat("短", 2000)
	d.Origin.Subject = "passcode.send\nInjected: 1"
	d.TraceParent = traceParent + "\r\nInjected: 1"
	d.TraceState = "a=b\r\nInjected: 1"
	require.NoError(t, store.Write(t.Context(), d))

	msg := last(t, stream, "passcode.dead.config.01JD-x_Y")
	assert.Equal(t, "job", string(msg.Data))
	assert.Equal(t, []string{"config"}, msg.Header.Values("Passcode-Reason"))
	assert.Empty(t, msg.Header.Values("Injected"))
	assert.Equal(t, traceParent+" Injected: 1", msg.Header.Get("traceparent"))
	assert.Equal(t, "a=b Injected: 1", msg.Header.Get("tracestate"))
	assert.Equal(t, "a Passcode-Reason: poison", msg.Header.Get("Passcode-Error-Code"))
	message := msg.Header.Get("Passcode-Error-Message")
	assert.True(t, strings.HasPrefix(message, "one body two\uFFFD 短短"), message[:40])
	assert.LessOrEqual(t, len(message), 1024)
	assert.Greater(t, len(message), 1024-4)
}

func TestWrittenTwiceStoredOnceAndTheNewestIsKept(t *testing.T) {
	t.Parallel()
	store, stream, _ := start(t)
	count := func() uint64 {
		info, err := stream.Info(t.Context())
		require.NoError(t, err)
		assert.Equal(t, info.State.Msgs, info.State.NumSubjects)
		return info.State.Msgs
	}
	for range 3 {
		require.NoError(t, store.Write(t.Context(), letter("job")))
	}
	first := last(t, stream, "passcode.dead.config.01JD-x_Y")
	assert.EqualValues(t, 1, first.Sequence)
	assert.EqualValues(t, 1, count())

	replayed := letter("replayed")
	replayed.Origin.Seq, replayed.Replays = 43, 2
	require.NoError(t, store.Write(t.Context(), replayed))
	assert.Equal(t, "replayed", string(last(t, stream, "passcode.dead.config.01JD-x_Y").Data))
	assert.EqualValues(t, 1, count())

	other := letter("job")
	other.Reason, other.Origin.Seq = passcode.ReasonExhausted, 44
	require.NoError(t, store.Write(t.Context(), other))
	assert.EqualValues(t, 2, count())
}

// TestARecreatedStreamCountsFromTheStart: its jobs have the sequences of others, whose
// message ids the dead-letter stream still knows.
func TestARecreatedStreamCountsFromTheStart(t *testing.T) {
	t.Parallel()
	store, stream, _ := start(t)
	before := letter("before")
	after := func(id, body string) domain.DeadLetter {
		d := letter(body)
		d.RequestID, d.Origin.QueuedAt = id, before.Origin.QueuedAt.Add(time.Minute)
		return d
	}
	require.NoError(t, store.Write(t.Context(), before))
	for range 3 {
		require.NoError(t, store.Write(t.Context(), after("other", "after")))
	}
	assert.Equal(t, "before", string(last(t, stream, "passcode.dead.config.01JD-x_Y").Data))
	stored := last(t, stream, "passcode.dead.config.other")
	assert.Equal(t, "after", string(stored.Data))
	assert.EqualValues(t, 2, stored.Sequence, "written three times, stored once")

	// Those without a request id have a subject in common too: the newest is kept.
	require.NoError(t, store.Write(t.Context(), after("", "nameless")))
	again := after("", "nameless again")
	again.Origin.QueuedAt = again.Origin.QueuedAt.Add(time.Minute)
	require.NoError(t, store.Write(t.Context(), again))
	assert.Equal(t, "nameless again", string(last(t, stream, "passcode.dead.config.seq-42").Data))

	// One that was removed in between is not known to be the same.
	require.NoError(t, stream.DeleteMsg(t.Context(), stored.Sequence))
	third := after("third", "third")
	third.Origin.QueuedAt = again.Origin.QueuedAt.Add(time.Minute)
	require.NoError(t, store.Write(t.Context(), third))
	assert.Equal(t, "third", string(last(t, stream, "passcode.dead.config.third").Data))
}

func TestAJobTooLargeIsCutAndSaysSo(t *testing.T) {
	t.Parallel()
	const payload = 64 << 10
	for name, limit := range map[string]int32{"the server's limit": -1, "the stream allows far less": 8 << 10} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, js := brokertest.Server(t, func(o *server.Options) { o.MaxPayload = payload }).Connect()
			stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
				Name: "DEAD", Subjects: []string{"dead.>"}, MaxMsgSize: limit, AllowDirect: true,
			})
			require.NoError(t, err)
			store := &deadletter.Store{JS: js, Stream: "DEAD", Subject: "dead", Now: time.Now}
			d := letter(strings.Repeat("0123456789", payload/10))
			require.NoError(t, store.Write(t.Context(), d))

			msg := last(t, stream, "dead.config.01JD-x_Y")
			assert.True(t, bytes.HasPrefix(d.Body, msg.Data))
			assert.NotEmpty(t, msg.Data)
			entry, err := deadletter.Parse(msg.Header, msg.Data)
			require.NoError(t, err)
			assert.True(t, entry.Truncated)
			assert.Equal(t, len(d.Body), entry.BodySize)
			if limit < 0 {
				assert.Greater(t, len(msg.Data), payload-1024, "no more is cut than must be")
			}
		})
	}
}

// The largest job that fits whole is kept whole, and one byte more is cut: the
// size of the headers is counted as the server counts it.
func TestNoMoreIsCutThanMustBe(t *testing.T) {
	t.Parallel()
	store, stream, js := start(t)
	whole := 0
	for size := int(js.Conn().MaxPayload()) - 700; ; size++ {
		d := letter(strings.Repeat("x", size))
		d.Origin.Seq = uint64(1_000_000 + size) // as many digits for each
		require.NoError(t, store.Write(t.Context(), d))
		msg := last(t, stream, "passcode.dead.config.01JD-x_Y")
		if msg.Header.Get("Passcode-Body-Truncated") == "" {
			whole = size
			size += 7 // a look at each size would write a lot
			continue
		}
		require.NotZero(t, whole)
		header := 0
		for name, values := range msg.Header {
			if !strings.HasPrefix(name, "Nats-") || name == "Nats-Msg-Id" || name == "Nats-Expected-Stream" {
				header += len(name) + len(values[0]) + 4
			}
		}
		assert.EqualValues(t, js.Conn().MaxPayload(), header+len("NATS/1.0\r\n\r\n")+len(msg.Data))
		return
	}
}

func TestABrokerRestartDelaysAndLosesNothing(t *testing.T) {
	t.Parallel()
	srv := brokertest.Server(t)
	_, js := srv.Connect(nats.ReconnectBufSize(-1))
	store, stream := startOn(t, js)
	srv.Stop()

	var wg sync.WaitGroup
	errs := make([]error, 5)
	for i := range errs {
		wg.Go(func() {
			d := letter("job")
			d.Origin.Seq, d.RequestID = uint64(i+1), ""
			errs[i] = store.Write(t.Context(), d)
		})
	}
	srv.Restart()
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	assert.EqualValues(t, len(errs), stored(t, stream))
}

func TestWriteEndsWithItsContext(t *testing.T) {
	t.Parallel()
	srv := brokertest.Server(t)
	_, js := srv.Connect(nats.ReconnectBufSize(-1))
	store, _ := startOn(t, js)
	srv.Stop()
	cause := errors.New("the worker shuts down")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, cause)
	defer cancel()
	err := store.Write(ctx, letter("job"))
	require.ErrorIs(t, err, cause)
	require.ErrorContains(t, err, "stream PASSCODE_DEAD")
}

func TestAnotherStreamsConfirmationIsNotTaken(t *testing.T) {
	t.Parallel()
	_, js := brokertest.Start(t)
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OTHER", Subjects: []string{"passcode.dead.>"}})
	require.NoError(t, err)
	store := &deadletter.Store{JS: js, Stream: "PASSCODE_DEAD", Subject: "passcode.dead", Now: time.Now}
	require.ErrorContains(t, store.Write(t.Context(), letter("job")), "expected stream does not match")
}

func TestWhatHasNoPlaceIsRefused(t *testing.T) {
	t.Parallel()
	store, stream, _ := start(t)
	for name, change := range map[string]func(*domain.DeadLetter){
		"no reason":       func(d *domain.DeadLetter) { d.Reason = "" },
		"odd reason":      func(d *domain.DeadLetter) { d.Reason = "a.b" },
		"wildcard id":     func(d *domain.DeadLetter) { d.RequestID = "*" },
		"id of tokens":    func(d *domain.DeadLetter) { d.RequestID = "a.b" },
		"no stream":       func(d *domain.DeadLetter) { d.Origin.Stream = "" },
		"no sequence":     func(d *domain.DeadLetter) { d.Origin.Seq = 0 },
		"negative counts": func(d *domain.DeadLetter) { d.Replays = -1 },
	} {
		d := letter("job")
		change(&d)
		require.ErrorIs(t, store.Write(t.Context(), d), deadletter.ErrInvalid, name)
	}
	assert.Zero(t, stored(t, stream))
}

func headers() nats.Header {
	h := nats.Header{}
	for name, value := range map[string]string{
		"Passcode-Reason": "invalid", "Passcode-Attempts": "0", "Passcode-Replays": "0",
		"Passcode-Origin-Stream": "PASSCODE", "Passcode-Origin-Seq": "7",
	} {
		h.Set(name, value)
	}
	return h
}

func TestParseNamesTheHeaderThatIsWrong(t *testing.T) {
	t.Parallel()
	entry, err := deadletter.Parse(headers(), []byte("job"))
	require.NoError(t, err, "no more than these are needed")
	assert.EqualValues(t, 7, entry.Origin.Seq)
	assert.True(t, entry.DeadAt.IsZero())

	for _, test := range []struct{ header, value string }{
		{"Passcode-Reason", ""},
		{"Passcode-Reason", "+8613812345678"},
		{"Passcode-Request-Id", "+8613812345678"},
		{"Passcode-Attempts", ""},
		{"Passcode-Attempts", "-1"},
		{"Passcode-Replays", "+8613812345678+"},
		{"Passcode-Origin-Stream", " "},
		{"Passcode-Origin-Seq", "0"},
		{"Passcode-Origin-Seq", "18446744073709551616"},
		{"Passcode-Queued-At", "+8613812345678"},
		{"Passcode-Dead-At", "yesterday"},
		{"Passcode-Dead-At", "0000-01-01T00:00:00+23:00"},
		{"Passcode-Queued-At", "9999-12-31T23:59:59-23:00"},
		{domain.HeaderAttemptedAt, "yesterday"},
	} {
		h := maps.Clone(headers())
		h.Set(test.header, test.value)
		_, err := deadletter.Parse(h, nil)
		require.ErrorIs(t, err, deadletter.ErrCorrupt)
		require.ErrorContains(t, err, "header "+test.header+" is")
		assert.NotContains(t, err.Error(), "138")
	}
	for _, size := range []string{"", "3", "-1"} {
		h := headers()
		h.Set("Passcode-Body-Truncated", "true")
		h.Set("Passcode-Body-Size", size)
		_, err := deadletter.Parse(h, []byte("job"))
		require.ErrorContains(t, err, "Passcode-Body-Size")
	}
	_, err = deadletter.Parse(nil, nil)
	require.ErrorIs(t, err, deadletter.ErrCorrupt)
}
