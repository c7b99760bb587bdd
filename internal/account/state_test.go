package account

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/passcode-worker/passcode-worker/test/fake"
)

func TestStateRefuses(t *testing.T) {
	t.Parallel()
	for _, data := range []string{
		"x", "{}", "null", "[]", `{"state":"ajar"}`, `{"state":"paused","level":-1}`, `{"state":"paused","until":"soon"}`,
		`{"state":"paused","level":99999999}`, `{"state":"open"}{}`, `{"state":"open","x":"` + strings.Repeat("x", maxStateBytes) + `"}`,
	} {
		_, err := decode([]byte(data))
		assert.ErrorIs(t, err, errCorrupt, data[:min(len(data), 40)])
	}
}

func TestPausesDouble(t *testing.T) {
	t.Parallel()
	now := fake.NewClock().Now()
	for level, want := range map[int]time.Duration{
		0: initial, 1: time.Minute, 2: 2 * time.Minute, 4: 8 * time.Minute, 5: longest, 6: longest, maxLevel: longest,
	} {
		next := State{Phase: PhaseProbing, ID: "x", Level: level}.after(event{kind: trip, probe: "x", first: initial}, now)
		assert.Equal(t, now.Add(want), next.Until, level)
	}
}

// FuzzStored: whatever somebody stored, a breaker that reads it neither panics nor
// stays closed for longer than the longest pause, and shows nothing that a terminal
// would act upon.
func FuzzStored(f *testing.F) {
	for _, seed := range []string{
		"", `{"state":"open"}`, `{"state":"paused","id":"x","level":3,"since":"2026-01-02T03:04:05Z","until":"9999-12-31T23:59:59Z"}`,
		`{"state":"probing","probe_until":"0001-01-01T00:00:00Z"}`, `{"state":1}`,
		`{"state":"paused","id":"x","level":3,"code":"isv.AMOUNT_NOT_ENOUGH","message":"余额不足","worker":"host-1"}`,
		`{"state":"probing","code":"\u001b]0;x\u0007","message":"a\nb` + strings.Repeat("x", maxMessageBytes) + `","probe_until":"9999-12-31T23:59:59-23:59"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c := fake.NewClock()
		m := newBroker(c.Now)
		m.Put(stateKey, data)
		a := newReplica(t, m, "a")
		requireOneLine(t, a.State().Code, maxCodeBytes)
		requireOneLine(t, a.State().Message, maxMessageBytes)
		requireOneLine(t, a.State().Worker, maxWorkerBytes)
		if state, err := decode(data); err == nil {
			stored, err := json.Marshal(state)
			require.NoError(t, err)
			again, err := decode(stored)
			require.NoError(t, err)
			storedAgain, err := json.Marshal(again)
			require.NoError(t, err)
			require.Equal(t, string(stored), string(storedAgain))
		} else {
			require.ErrorIs(t, err, errCorrupt)
		}

		c.Move(longest)
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
		c := fake.NewClock()
		m := newBroker(c.Now)
		m.Put(noteKey, data)
		m.Retain(time.Hour)
		g := newReplica(t, m, "a").Breaker
		note := parseNote(data)
		requireOneLine(t, note.Reason, maxReasonBytes)
		requireOneLine(t, note.By, maxWorkerBytes)

		until := note.Until.Add(time.Duration(offset % int64(time.Minute)))
		held, err := g.Holder(t.Context(), until)
		require.NoError(t, err)
		require.Equal(t, !held.At.IsZero(), !note.At.IsZero() && note.Until.Sub(until).Abs() < slack)
		if !held.At.IsZero() {
			require.Equal(t, note, held)
		}
		again := parseNote(m.Entry(noteKey).Value)
		require.True(t, again.Until.Equal(note.Until) && again.At.Equal(note.At))
		require.Equal(t, note.Reason, again.Reason, "keeping a note does not change it")
		require.Equal(t, note.By, again.By)
	})
}

// TestHistories drives three replicas, each as late with the news as chance will
// have it, through random histories and checks what must hold whatever happens.
func TestHistories(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		c := fake.NewClock()
		m := newBroker(c.Now)
		breakers := make([]*Breaker, 3)
		for i := range breakers {
			b, err := New(t.Context(), m.Bucket(), m, Options{Worker: string(rune('a' + i)), Now: c.Now})
			require.NoError(t, err)
			breakers[i] = b
		}
		// What the broker knows is the truth that the replicas hear of late.
		truth := func() State { return m.state(t) }
		prober, probeEnds := -1, time.Time{}
		for range 60 {
			c.Move(rapid.SampledFrom([]time.Duration{
				0, 0, time.Millisecond, time.Second, timeout - 1, timeout, initial, longest,
			}).Draw(t, "step"))
			i := rapid.IntRange(0, len(breakers)-1).Draw(t, "replica")
			g, before, now := breakers[i], truth(), c.Now()
			knew := g.State().Phase
			switch rapid.SampledFrom([]string{"admit", "admit", "trip", "pass", "inconclusive", "hear"}).Draw(t, "do") {
			case "admit":
				got, err := g.Admit(t.Context())
				require.NoError(t, err)
				if got.Probe {
					require.NotEqual(t, PhaseOpen, before.Phase)
					require.False(t, before.Phase == PhasePaused && before.Until.After(now), "no probe in a pause")
					require.False(t, prober >= 0 && probeEnds.After(now), "one probe at a time")
					prober, probeEnds = i, now.Add(timeout)
				} else if got.Allowed {
					require.True(t, before.Phase == PhaseOpen || knew == PhaseOpen, "held back once known")
				} else {
					require.Positive(t, got.Wait)
					require.LessOrEqual(t, got.Wait, longest)
				}
			case "trip":
				until, err := g.Trip(t.Context(), "code", "text")
				require.NoError(t, err)
				require.False(t, until.Before(now))
				after := truth()
				switch {
				case knew == PhaseOpen && before.Phase == PhaseOpen:
					require.Equal(t, PhasePaused, after.Phase)
					require.Equal(t, 1, after.Level)
				case i == prober:
					require.Equal(t, PhasePaused, after.Phase)
					require.Equal(t, before.Level+1, after.Level)
					prober = -1
				default:
					require.Equal(t, before, after, "no news")
				}
			case "pass":
				require.NoError(t, g.Passed(t.Context()))
				after := truth()
				if i == prober {
					require.Equal(t, PhaseOpen, after.Phase)
					prober = -1
				} else {
					require.Equal(t, before, after, "only the probe opens")
				}
			case "inconclusive":
				require.NoError(t, g.Inconclusive(t.Context()))
				if i == prober {
					require.Equal(t, PhasePaused, truth().Phase)
					require.Equal(t, before.Level, truth().Level)
					prober = -1
				} else {
					require.Equal(t, before, truth())
				}
			case "hear":
				require.NoError(t, g.reload(t.Context()))
			}
			require.Equal(t, prober >= 0, truth().Phase == PhaseProbing)
		}
	})
}
