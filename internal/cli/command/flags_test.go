package command

import (
	"encoding"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var (
	_ encoding.TextUnmarshaler = (*TimeFlag)(nil)
	_ encoding.TextUnmarshaler = (*Pace)(nil)
)

func TestFlags(t *testing.T) {
	t.Parallel()
	var p Pace
	for text, want := range map[string]float64{"500/s": 500, "30/m": 0.5, "3600/h": 1, "0.5/s": 0.5} {
		require.NoError(t, p.UnmarshalText([]byte(text)), text)
		assert.InDelta(t, want, float64(p), 1e-9, text)
	}
	for _, text := range []string{"", "500", "/s", "0/s", "-1/s", "NaN/s", "1/d", "1/s/s", "Inf/s"} {
		require.ErrorContains(t, p.UnmarshalText([]byte(text)), "500/s", text)
	}
	var m TimeFlag
	require.NoError(t, m.UnmarshalText([]byte("2h")))
	assert.Equal(t, started.Add(-2*time.Hour), m.Time)
	require.NoError(t, m.UnmarshalText([]byte("2026-11-22T10:00:00+08:00")))
	assert.True(t, m.Equal(time.Date(2026, 11, 22, 2, 0, 0, 0, time.UTC)))
	for _, text := range []string{"", "yesterday", "-2h", "2026-11-22"} {
		require.Error(t, m.UnmarshalText([]byte(text)), text)
	}
}

// FuzzTimeFlag: --since and --until are points in time, those given as an age not
// in the future.
func FuzzTimeFlag(f *testing.F) {
	for _, seed := range []string{"2h", "-2h", "2026-11-22T03:04:05Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "2562047h47m16s", "now", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var flag TimeFlag
		if err := flag.UnmarshalText([]byte(text)); err != nil {
			require.True(t, strings.HasPrefix(err.Error(), "must be a time"), "the rule, and nothing of the text")
			require.Zero(t, flag)
			return
		}
		if d, err := time.ParseDuration(text); err == nil {
			require.Equal(t, started.Add(-d), flag.Time)
			return
		}
		want, err := time.Parse(time.RFC3339, text)
		require.NoError(t, err)
		require.True(t, flag.Equal(want), "%s for %s", flag, want)
	})
}

// FuzzPace: --rate is a number of jobs a second that can be kept.
func FuzzPace(f *testing.F) {
	for _, seed := range []string{"500/s", "30/m", "1e6/s", "1e-9/h", "NaN/s", "Inf/s", "0x1p3/s", "-1/s", "1/", "/s", "1/s/s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var p Pace
		if err := p.UnmarshalText([]byte(text)); err != nil {
			require.True(t, strings.HasPrefix(err.Error(), "must be a count"))
			require.Zero(t, p)
			return
		}
		require.Greater(t, float64(p), 0.0)
		require.LessOrEqual(t, float64(p), 1e6)
	})
}
