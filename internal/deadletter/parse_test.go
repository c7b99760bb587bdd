package deadletter_test

import (
	"maps"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/brokertest"
	"github.com/passcode-worker/passcode-worker/internal/deadletter"
	"github.com/passcode-worker/passcode-worker/internal/domain"
)

func TestParseReadsWhatWriteWrote(t *testing.T) {
	t.Parallel()
	nc, js := brokertest.Start(t)
	store, stream := start(t, nc, js)
	want := letter("the job")
	require.NoError(t, store.Write(t.Context(), want))
	msg := last(t, stream, "passcode.dead.config.01JD-x_Y")
	entry, err := deadletter.Parse(msg.Header, msg.Data)
	require.NoError(t, err)
	assert.Equal(t, want, entry.DeadLetter)
	assert.True(t, entry.DeadAt.Equal(deadAt))
	assert.Equal(t, "host-1", entry.Worker)
	assert.Equal(t, len("the job"), entry.BodySize)
	assert.False(t, entry.Truncated)
}

func headers() nats.Header {
	h := nats.Header{}
	for name, value := range map[string]string{
		deadletter.HeaderReason: "invalid", deadletter.HeaderAttempts: "0", deadletter.HeaderReplays: "0",
		deadletter.HeaderOriginStream: "PASSCODE", deadletter.HeaderOriginSeq: "7",
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
		{deadletter.HeaderReason, ""},
		{deadletter.HeaderReason, "+8613812345678"},
		{deadletter.HeaderRequestID, "+8613812345678"},
		{deadletter.HeaderAttempts, ""},
		{deadletter.HeaderAttempts, "-1"},
		{deadletter.HeaderReplays, "+8613812345678+"},
		{deadletter.HeaderOriginStream, " "},
		{deadletter.HeaderOriginSeq, "0"},
		{deadletter.HeaderOriginSeq, "18446744073709551616"},
		{deadletter.HeaderQueuedAt, "+8613812345678"},
		{deadletter.HeaderDeadAt, "yesterday"},
		{deadletter.HeaderDeadAt, "0000-01-01T00:00:00+23:00"},
		{deadletter.HeaderQueuedAt, "9999-12-31T23:59:59-23:00"},
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
		h.Set(deadletter.HeaderBodyTruncated, "true")
		h.Set(deadletter.HeaderBodySize, size)
		_, err := deadletter.Parse(h, []byte("job"))
		require.ErrorContains(t, err, deadletter.HeaderBodySize)
	}
	_, err = deadletter.Parse(nil, nil)
	require.ErrorIs(t, err, deadletter.ErrCorrupt)
}
