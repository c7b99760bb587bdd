package account

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestDocumentRoundTrip(t *testing.T) {
	t.Parallel()
	now := newClock().Now()
	pause := pauseOf(initial, longest)
	for _, doc := range []document{
		opened(now),
		document{State: PhaseOpen}.tripped(now, pause, "code", "text"),
		document{State: PhaseOpen}.tripped(now, pause, "code", "text").probed(now, timeout),
		document{State: PhaseOpen}.tripped(now, pause, "", "").probed(now, timeout).due(now),
	} {
		data, err := doc.encode()
		require.NoError(t, err)
		again, err := decode(data)
		require.NoError(t, err)
		assert.Equal(t, doc, again)
	}
}

func TestNothingStoredIsOpen(t *testing.T) {
	t.Parallel()
	doc, err := decode(nil)
	require.NoError(t, err)
	assert.Equal(t, document{State: PhaseOpen}, doc)
}

func TestDocumentRefuses(t *testing.T) {
	t.Parallel()
	for _, data := range []string{
		"x", "{}", "null", "[]", `{"state":"ajar"}`, `{"state":"paused","level":-1}`, `{"state":"paused","until":"soon"}`,
		`{"state":"paused","level":99999999}`, `{"state":"open"}{}`, `{"state":"open","x":"` + strings.Repeat("x", maxDocumentBytes) + `"}`,
	} {
		_, err := decode([]byte(data))
		assert.ErrorIs(t, err, errCorrupt, data[:min(len(data), 40)])
	}
}

func TestPauseOf(t *testing.T) {
	t.Parallel()
	pause := pauseOf(initial, longest)
	for level, want := range map[int]time.Duration{
		0: initial, 1: initial, 2: time.Minute, 3: 2 * time.Minute, 5: 8 * time.Minute, 6: longest, 7: longest, maxLevel: longest,
	} {
		assert.Equal(t, want, pause(level), level)
	}
	// No doubling overflows, however long the longest pause is.
	assert.Equal(t, time.Duration(1<<62), pauseOf(1, 1<<62)(100))
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"", `{"state":"open"}`, `{"state":"paused","id":"x","level":3,"since":"2026-01-02T03:04:05Z","until":"9999-12-31T23:59:59Z"}`,
		`{"state":"probing","probe_until":"0001-01-01T00:00:00Z"}`, `{"state":1}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		// Whatever somebody stored, a gate that reads it neither panics nor stays
		// closed for longer than the longest pause.
		c := newClock()
		m := NewMemory(c.Now)
		m.data, m.revision = data, 1
		a := newReplica(t, m, "a")
		c.move(longest)
		got, err := a.Admit(t.Context())
		require.NoError(t, err)
		require.True(t, got.Allowed)
		until, err := a.Trip(t.Context(), "code", "text")
		require.NoError(t, err)
		require.LessOrEqual(t, until.Sub(c.Now()), longest)
		require.Positive(t, until.Sub(c.Now()))
		require.True(t, a.State().Closed())
	})
}
