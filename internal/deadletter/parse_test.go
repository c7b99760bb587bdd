package deadletter_test

import (
	"maps"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/deadletter"
	"github.com/passcode-worker/passcode-worker/internal/domain"
)

func TestParseReadsWhatWriteWrote(t *testing.T) {
	t.Parallel()
	store, stream, _ := start(t)
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
