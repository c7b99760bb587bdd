package ratelimit

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestParseRule(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Rule{
		"1/1m":       {1, time.Minute},
		"5/1h":       {5, time.Hour},
		"10/24h":     {10, 24 * time.Hour},
		"3/90s":      {3, 90 * time.Second},
		"1000/744h":  {MaxPlaces, MaxWindow},
		"2/1h0m0s":   {2, time.Hour},
		"1/1ns":      {1, time.Nanosecond},
		"7/1h0m30s":  {7, time.Hour + 30*time.Second},
		"7/10m":      {7, 10 * time.Minute},
		"7/20h10m0s": {7, 20*time.Hour + 10*time.Minute},
	} {
		rule, err := ParseRule(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, rule, text)
	}
}

func TestParseRuleRefuses(t *testing.T) {
	t.Parallel()
	for text, why := range map[string]string{
		"":        "count/window",
		"5":       "count/window",
		"5 1h":    "count/window",
		"x/1h":    "whole number",
		"1.5/1h":  "whole number",
		"/1h":     "whole number",
		"5/":      "duration",
		"5/1":     "duration",
		"5/1d":    "duration",
		"5/1h/2":  "duration",
		"0/1h":    "count must be 1 to",
		"-1/1h":   "count must be 1 to",
		"1001/1h": "count must be 1 to",
		"5/0s":    "longer than 0",
		"5/-1h":   "longer than 0",
		"5/745h":  "at most 744h",
	} {
		_, err := ParseRule(text)
		assert.ErrorContains(t, err, why, text)
	}
}

func TestRuleWritesItselfShortly(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"5/1h0m0s": "5/1h", "5/60m": "5/1h", "1/60s": "1/1m", "10/24h": "10/24h",
		"1/90s": "1/1m30s", "2/3610s": "2/1h0m10s", "2/70m": "2/1h10m", "2/10s": "2/10s", "2/1500ms": "2/1.5s",
	} {
		rule, err := ParseRule(text)
		require.NoError(t, err)
		assert.Equal(t, want, rule.String())
	}
}

func TestRuleRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rule := Rule{
			Max:    rapid.IntRange(1, MaxPlaces).Draw(t, "max"),
			Window: time.Duration(rapid.Int64Range(1, int64(MaxWindow)).Draw(t, "window")),
		}
		if rapid.Bool().Draw(t, "whole seconds") {
			rule.Window = max(rule.Window.Truncate(time.Second), time.Second)
		}
		again, err := ParseRule(rule.String())
		require.NoError(t, err)
		assert.Equal(t, rule, again)
	})
}

func TestRulesAsJSON(t *testing.T) {
	t.Parallel()
	var list []Rule
	require.NoError(t, json.Unmarshal([]byte(`["1/1m","5/1h"]`), &list))
	assert.Equal(t, rules(t, "1/1m", "5/1h"), list)
	data, err := json.Marshal(list)
	require.NoError(t, err)
	assert.JSONEq(t, `["1/1m","5/1h"]`, string(data))
	assert.Error(t, json.Unmarshal([]byte(`["many"]`), &list))
}

func TestBucketTTL(t *testing.T) {
	t.Parallel()
	// A closure of a day must be kept even where all windows are short.
	assert.Equal(t, 26*time.Hour, BucketTTL(nil))
	assert.Equal(t, 26*time.Hour, BucketTTL(rules(t, "1/1m")))
	assert.Equal(t, 50*time.Hour, BucketTTL(rules(t, "1/1m", "9/48h", "5/1h")))
}

func TestUnusableRules(t *testing.T) {
	t.Parallel()
	_, err := NewMemory([]Rule{{Max: 1, Window: time.Hour}, {Max: 0, Window: time.Hour}, {Max: 1}}, nil)
	require.Error(t, err)
	assert.ErrorContains(t, err, `"0/1h"`)
	assert.ErrorContains(t, err, `"1/0s"`)
	_, err = Open(t.Context(), nil, Options{Rules: []Rule{{}}})
	assert.ErrorContains(t, err, "count must be")
}
