package deadletter

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTrace(t *testing.T) {
	t.Parallel()
	const good, state = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
	type headers struct{ parent, state string }
	tried := func(parent, state string) headers {
		parent, state = trace(parent, state)
		return headers{parent, state}
	}
	assert.Equal(t, headers{good, state}, tried(good, state))
	for _, bad := range []string{
		"", good + "\n", " " + good, strings.ToUpper(good), "ff" + good[2:], good + "-x",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01",
		"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
	} {
		assert.Equal(t, headers{}, tried(bad, state), bad)
	}
	for _, bad := range []string{"", "a=b\r\nc", "a=b ", "a=短", strings.Repeat("x", 513)} {
		assert.Equal(t, headers{good, ""}, tried(good, bad), bad)
	}
}

// FuzzParse: whatever the headers of a stored message, reading neither panics
// nor gives what could not be written again, and writing that again changes
// nothing of it.
func FuzzParse(f *testing.F) {
	f.Add("NATS/1.0\r\nPasscode-Reason: invalid\r\nPasscode-Attempts: 0\r\nPasscode-Replays: 0\r\n"+
		"Passcode-Origin-Stream: S\r\nPasscode-Origin-Seq: 7\r\nPasscode-Queued-At: 2026-01-02T03:04:05.678+08:00\r\n\r\n", []byte("job"))
	f.Add("NATS/1.0\r\nPasscode-Reason: invalid\r\nPasscode-Attempts: 0\r\nPasscode-Replays: 0\r\nPasscode-Origin-Stream: S\r\n"+
		"Passcode-Origin-Seq: 7\r\nPasscode-Body-Truncated: true\r\nPasscode-Body-Size: 9\r\n\r\n", []byte("job"))
	f.Add("NATS/1.0\r\n\r\n", []byte{})
	store := New(nil, Options{Stream: "D", Subject: "d", Worker: "w"})
	f.Fuzz(func(t *testing.T, text string, body []byte) {
		header, err := nats.DecodeHeadersMsg([]byte(text))
		if err != nil {
			t.Skip("no headers")
		}
		entry, err := Parse(header, body)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		require.Empty(t, invalid(entry.DeadLetter))
		require.GreaterOrEqual(t, entry.BodySize, len(entry.Body))
		if y := entry.Origin.QueuedAt.Year(); y < 1 || y > 9999 {
			t.Skip("no worker's clock stands there")
		}
		msg := store.message(entry.DeadLetter, time.Unix(0, 0), 1<<30, false)
		again, err := Parse(msg.Header, msg.Data)
		require.NoError(t, err)
		require.Equal(t, entry.DeadLetter, again.DeadLetter)
	})
}
