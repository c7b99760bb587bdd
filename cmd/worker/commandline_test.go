package main

import (
	"context"
	"encoding"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var (
	_ encoding.TextUnmarshaler = (*timeFlag)(nil)
	_ encoding.TextUnmarshaler = (*pace)(nil)
)

// FuzzTimeFlag: --since and --until are points in time, those given as an age not
// in the future.
func FuzzTimeFlag(f *testing.F) {
	for _, seed := range []string{"2h", "-2h", "2026-11-22T03:04:05Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "2562047h47m16s", "now", ""} {
		f.Add(seed)
	}
	now := time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		var flag timeFlag
		if err := flag.UnmarshalText([]byte(text)); err != nil {
			require.True(t, strings.HasPrefix(err.Error(), "must be a time"), "the rule, and nothing of the text")
			require.Zero(t, flag)
			return
		}
		at := flag.at(now)
		if d, err := time.ParseDuration(text); err == nil {
			require.False(t, at.After(now))
			require.Equal(t, d, now.Sub(at))
			return
		}
		want, err := time.Parse(time.RFC3339, text)
		require.NoError(t, err)
		require.True(t, at.Equal(want), "%s for %s", at, want)
	})
}

// FuzzPace: --rate is a number of jobs a second that can be kept.
func FuzzPace(f *testing.F) {
	for _, seed := range []string{"500/s", "30/m", "1e6/s", "1e-9/h", "NaN/s", "Inf/s", "0x1p3/s", "-1/s", "1/", "/s", "1/s/s"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var p pace
		if err := p.UnmarshalText([]byte(text)); err != nil {
			require.True(t, strings.HasPrefix(err.Error(), "must be a count"))
			require.Zero(t, p)
			return
		}
		require.Greater(t, float64(p), 0.0)
		require.LessOrEqual(t, float64(p), 1e6)
	})
}

// FuzzArguments gives the command line anything. It is understood, or refused with
// a text that repeats no phone number that was typed in the wrong place.
func FuzzArguments(f *testing.F) {
	for _, seed := range []string{
		"send PHONE", "send --phone PHONE --code pq7z9x --wait PHONE", "limits show PHONE PHONE", "dlq replay --since PHONE --rate PHONE --reason PHONE",
		"dlq list --until 2h --json", "pause PHONE", "--set PHONE", "--PHONE", "-PHONE", "emulator --latency PHONE --max-qps PHONE --clock-offset=-20m", "PHONE", "", "help", "request", "dlq",
		"dlq show a b", "--config=PHONE run", "dlq replay --id PHONE --all --dry-run --ttl 5m", "send --help", "-- PHONE", "dlq export --reveal=PHONE",
	} {
		f.Add(seed)
	}
	const phone = "+8613800000001"
	f.Fuzz(func(t *testing.T, line string) {
		var c cli
		parser := newParser(&c, io.Discard, io.Discard)
		defer func() {
			if left := recover(); left != nil {
				_, help := left.(exitCode)
				require.True(t, help, "%v", left)
			}
		}()
		_, err := parser.Parse(strings.Fields(strings.ReplaceAll(line, "PHONE", phone)))
		if err != nil {
			require.NotContains(t, refusedLine(err), phone[1:])
			return
		}
		require.GreaterOrEqual(t, float64(c.DLQ.Replay.Rate), 0.0)
	})
}

func TestEmulatorRefusesNegativeFlags(t *testing.T) {
	t.Parallel()
	stop, cancel := context.WithCancel(t.Context())
	cancel() // where it is not refused it must not serve either
	for _, flag := range []string{"--latency=-1s", "--lookup-lag=-1ns", "--max-qps=-1"} {
		var out strings.Builder
		e := &env{stop: stop, force: stop, args: []string{"emulator", "--listen=127.0.0.1:0", flag}, stdin: strings.NewReader(""), stdout: &out, stderr: &out}
		require.Equal(t, exitUsage, execute(e), flag)
		require.Contains(t, out.String(), "must not be negative", flag)
	}
}
