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
		assert.NoError(t, rule.Check(), text)
	}
}

func TestParseRuleRefuses(t *testing.T) {
	t.Parallel()
	for text, why := range map[string]string{
		"":                        "no slash",
		"5":                       "no slash",
		"5 1h":                    "no slash",
		"s3cret":                  "no slash",
		"/":                       "whole number",
		"x/1h":                    "whole number",
		"1.5/1h":                  "whole number",
		"/1h":                     "whole number",
		"5 / 1h":                  "whole number",
		"s3cret/1h":               "whole number",
		"99999999999999999999/1h": "whole number",
		"5/":                      "duration",
		"5/1":                     "duration",
		"5/1d":                    "duration",
		"5/1h/2":                  "duration",
		"5/s3cret":                "duration",
	} {
		_, err := domain.ParseRule(text)
		require.ErrorContains(t, err, why, text)
		assert.NotContains(t, err.Error(), "s3cret")

		rule := domain.Rule{Max: 7}
		require.Error(t, rule.UnmarshalText([]byte(text)), text)
		assert.Equal(t, domain.Rule{Max: 7}, rule, "%q must leave the value alone", text)
	}
}

func TestRuleLimits(t *testing.T) {
	t.Parallel()
	for text, why := range map[string]string{
		"0/1h":    "count must be 1 to 1000",
		"-1/1h":   "count must be 1 to 1000",
		"1001/1h": "count must be 1 to 1000",
		"5/0s":    "longer than 0",
		"5/-1h":   "longer than 0",
		"5/745h":  "at most 744h",
	} {
		rule, err := domain.ParseRule(text)
		require.NoError(t, err, text)
		assert.ErrorContains(t, rule.Check(), why, text)
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
	var list []domain.Rule
	require.NoError(t, json.Unmarshal([]byte(`["1/1m","5/1h"]`), &list))
	assert.Equal(t, []domain.Rule{{Max: 1, Window: time.Minute}, {Max: 5, Window: time.Hour}}, list)
	data, err := json.Marshal(list)
	require.NoError(t, err)
	assert.JSONEq(t, `["1/1m","5/1h"]`, string(data))
	assert.Error(t, json.Unmarshal([]byte(`["many"]`), &list))
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
