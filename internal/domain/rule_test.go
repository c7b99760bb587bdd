package domain_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/passcode-worker/passcode-worker/internal/domain"
)

func TestParseRule(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]domain.Rule{
		"1/1m":       {Max: 1, Window: time.Minute},
		"5/1h":       {Max: 5, Window: time.Hour},
		"10/24h":     {Max: 10, Window: 24 * time.Hour},
		"3/90s":      {Max: 3, Window: 90 * time.Second},
		"1000/744h":  {Max: domain.MaxPlaces, Window: domain.MaxWindow},
		"2/1h0m0s":   {Max: 2, Window: time.Hour},
		"1/1ns":      {Max: 1, Window: time.Nanosecond},
		"7/1h0m30s":  {Max: 7, Window: time.Hour + 30*time.Second},
		"7/10m":      {Max: 7, Window: 10 * time.Minute},
		"7/20h10m0s": {Max: 7, Window: 20*time.Hour + 10*time.Minute},
	} {
		rule, err := domain.ParseRule(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, rule, text)
		assert.True(t, rule.Valid(), text)
	}
}

func TestParseRuleRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"",
		"5",
		"5 1h",
		"s3cret",
		"/",
		"x/1h",
		"1.5/1h",
		"/1h",
		"5 / 1h",
		"s3cret/1h",
		"99999999999999999999/1h",
		"5/",
		"5/1",
		"5/1d",
		"5/1h/2",
		"5/s3cret",
	} {
		_, err := domain.ParseRule(text)
		require.EqualError(t, err, "not a rule like 5/1h", text)
	}
}

func TestRuleLimits(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"0/1h",
		"-1/1h",
		"1001/1h",
		"5/0s",
		"5/-1h",
		"5/745h",
	} {
		rule, err := domain.ParseRule(text)
		require.NoError(t, err, text)
		assert.False(t, rule.Valid(), text)
	}
}

func TestRuleWritesItselfShortly(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"5/1h0m0s": "5/1h", "5/60m": "5/1h", "1/60s": "1/1m", "10/24h": "10/24h",
		"1/90s": "1/1m30s", "2/3610s": "2/1h0m10s", "2/70m": "2/1h10m", "2/10s": "2/10s", "2/1500ms": "2/1.5s",
	} {
		rule, err := domain.ParseRule(text)
		require.NoError(t, err)
		assert.Equal(t, want, rule.String())
	}
}

func TestRuleRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rule := domain.Rule{
			Max:    rapid.Int().Draw(t, "max"),
			Window: time.Duration(rapid.Int64().Draw(t, "window")),
		}
		if rapid.Bool().Draw(t, "whole seconds") {
			rule.Window = rule.Window.Truncate(time.Second)
		}
		again, err := domain.ParseRule(rule.String())
		require.NoError(t, err)
		assert.Equal(t, rule, again)
	})
}

func TestRulesAsJSON(t *testing.T) {
	t.Parallel()
	data, err := json.Marshal([]domain.Rule{{Max: 1, Window: time.Minute}, {Max: 5, Window: time.Hour}})
	require.NoError(t, err)
	assert.JSONEq(t, `["1/1m","5/1h"]`, string(data))
}

// FuzzParseRule: settings and documents come from outside.
func FuzzParseRule(f *testing.F) {
	for _, seed := range []string{"5/1h", "1/1m", "1000/744h", "", "/", "-1/-1h", "1/1h/1", "９/1h", "+5/1h"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rule, err := domain.ParseRule(text)
		if err != nil {
			assert.Zero(t, rule)
			return
		}
		again, err := domain.ParseRule(rule.String())
		require.NoError(t, err)
		assert.Equal(t, rule, again)
	})
}

func TestFormatDuration(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", time.Millisecond: "1ms", 10 * time.Second: "10s", time.Minute: "1m", time.Hour: "1h", 24 * time.Hour: "24h",
		90 * time.Minute: "1h30m", time.Hour + time.Second: "1h0m1s", 100 * time.Second: "1m40s", 10 * time.Hour: "10h",
	} {
		assert.Equal(t, want, domain.FormatDuration(d))
	}
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64().Draw(t, "nanoseconds"))
		again, err := time.ParseDuration(domain.FormatDuration(d))
		require.NoError(t, err)
		require.Equal(t, d, again)
	})
}
