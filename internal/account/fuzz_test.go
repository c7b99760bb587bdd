package account

import (
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func requireOneLine(t *testing.T, text string, limit int) {
	t.Helper()
	require.True(t, utf8.ValidString(text))
	require.LessOrEqual(t, len(text), limit)
	require.False(t, strings.ContainsFunc(text, unicode.IsControl), "it would be printed: %q", text)
}

// FuzzPauseNote reads the note about an operator's pause. It is shown by every
// replica and command, so it is one line whatever somebody stored; and a note that
// can't be read explains nothing, but keeps nobody from pausing and resuming.
func FuzzPauseNote(f *testing.F) {
	for _, seed := range []string{
		"", "{", "null", `{"until":"2200-01-01T00:00:00Z","at":"2026-01-02T03:04:05Z","reason":"new template","by":"host-1"}`,
		`{"until":"2026-01-02T03:04:05Z","at":"2026-01-02T03:04:05Z","reason":"\u001b[2J\n\nx","by":"\ud800` + strings.Repeat("x", 300) + `"}`,
		`{"until":1}`, `{"until":"2026-01-02T03:04:05+23:59","at":"0001-01-01T00:00:00Z","kept_at":"9999-12-31T23:59:59-23:59"}`,
	} {
		f.Add([]byte(seed), int64(0))
	}
	f.Fuzz(func(t *testing.T, data []byte, offset int64) {
		c := newClock()
		m := NewMemory(c.Now)
		m.note, m.ttl = memoryValue{data: data, revision: 1}, time.Hour
		g := newReplica(t, m, "a").Breaker
		note, _, err := g.readNote(t.Context())
		require.NoError(t, err)
		requireOneLine(t, note.Reason, maxReasonBytes)
		requireOneLine(t, note.By, maxByBytes)

		until := note.Until.Add(time.Duration(offset % int64(time.Minute)))
		held, whose, err := g.Holder(t.Context(), until)
		require.NoError(t, err)
		require.Equal(t, whose, !note.At.IsZero() && note.Until.Sub(until).Abs() < slack)
		if whose {
			require.Equal(t, note, held)
		}
		again, _, err := g.readNote(t.Context())
		require.NoError(t, err)
		require.True(t, again.Until.Equal(note.Until) && again.At.Equal(note.At))
		require.Equal(t, note.Reason, again.Reason, "keeping a note does not change it")
		require.Equal(t, note.By, again.By)
	})
}

// FuzzDocument reads the state of the account, of which code, message and worker
// are shown.
func FuzzDocument(f *testing.F) {
	f.Add([]byte(`{"state":"paused","id":"x","level":3,"code":"isv.AMOUNT_NOT_ENOUGH","message":"余额不足","worker":"host-1"}`))
	f.Add([]byte(`{"state":"probing","code":"\u001b]0;x\u0007","message":"a\nb` + strings.Repeat("x", maxMessageBytes) + `","probe_until":"9999-12-31T23:59:59-23:59"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		doc, err := decode(data)
		if err != nil {
			require.ErrorIs(t, err, errCorrupt)
			return
		}
		requireOneLine(t, doc.Code, maxCodeBytes)
		requireOneLine(t, doc.Message, maxMessageBytes)
		requireOneLine(t, doc.Worker, maxByBytes)
		encoded, err := doc.encode()
		require.NoError(t, err)
		again, err := decode(encoded)
		require.NoError(t, err)
		encodedAgain, err := again.encode()
		require.NoError(t, err)
		require.Equal(t, string(encoded), string(encodedAgain))
	})
}
