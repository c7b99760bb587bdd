package account

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/passcode-worker/passcode-worker/test/fake"
)

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
