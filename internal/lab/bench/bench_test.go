package bench

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/passcode"
)

func TestWarmUp(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ concurrency, qps, workers, want int }{
		{256, 0, 1, 1024},
		{256, 0, 3, 3072},
		{1, 0, 1, 4},
		{4096, 0, 64, warmUpMost},
		{256, 100, 1, 200},
		{256, 100, 3, 600},
		{256, 5000, 1, 1024},
	} {
		cfg := config.Default()
		cfg.Worker.Concurrency, cfg.Aliyun.MaxQPS = row.concurrency, row.qps
		assert.Equal(t, row.want, warmUpJobs(cfg, row.workers), row)
	}
}

// longRun is a summary with figures as large as they get.
func longRun() Summary {
	u := Usage{Resident: 1_234_567_890, HeapInUse: 934_567_890, HeapLive: 834_567_890, Goroutines: 12345, Files: 1234}
	return Summary{
		Sample: Sample{
			Seconds: 36_000, PerSecond: 5000, Broker: u, Emulator: u, Bench: u, Progress: Progress{
				Published: 18_000_000, Final: 18_000_000, Statuses: map[passcode.Status]int{passcode.StatusSent: 18_000_000},
				Receipt: Latency{P50: 1_200_000, P90: 23_400_000, P99: 123_400_000, Max: 12_345_670_000},
				Result:  Latency{P50: 51_200_000, P90: 123_400_000, P95: 200_000_000, P99: 1_234_500_000, Max: 123_456_700_000},
			},
		},
		CPU:    map[string]float64{"worker": .00041, "broker": .00024, "emulator": .00014, "bench": .0000904},
		Memory: Memory{After: 50_000, Early: &u, Late: u, Most: u},
		Audit:  Audit{Accepted: 18_000_000},
	}
}

func TestSummaryText(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := &screen{Screen: &show.Screen{W: &out}, out: &out, b: &Cmd{}}
	require.NoError(t, s.summary(longRun()))
	for _, want := range []string{
		"18,000,000 jobs in 10h: 5,000 a second", "receipt: p50 1.2ms, p90 23.4ms, p99 123ms, the longest 12.3s.",
		"result: p50 51.2ms, p90 123ms, p99 1.23s, the longest 2m3s.", "AFTER 50,000", "+0.0 %",
		"CPU a job: worker 410 µs, broker 240 µs, emulator 140 µs, bench 90 µs.", "The emulator accepted 18,000,000 of 18,000,000 jobs: none lost, none sent twice.",
	} {
		assert.Contains(t, out.String(), want)
	}
	holdWidth(t, out.String())

	out.Reset()
	s.b.Against = "nats://10.0.0.5:4222"
	elsewhere := longRun()
	elsewhere.Broker = Usage{}
	delete(elsewhere.CPU, "broker")
	require.NoError(t, s.summary(elsewhere))
	assert.Contains(t, out.String(), "worker 410 µs, broker unknown, emulator")
	assert.Contains(t, out.String(), "Memory at the end: broker unknown, emulator 1234.6 MB, bench")
	holdWidth(t, out.String())

	out.Reset()
	bad := longRun()
	bad.Memory.Early = nil
	bad.Audit.Doubled, bad.Audit.Lost = 2, 1
	require.NoError(t, s.summary(bad))
	assert.Contains(t, out.String(), "2 messages were one too many for their request")
	assert.Contains(t, out.String(), "1 jobs were published and have no final result")
	assert.Contains(t, out.String(), "too short")
	assert.NotContains(t, out.String(), "none lost")
	holdWidth(t, out.String())
}

// TestLineIsRefreshed in its place, and elsewhere comes every few seconds.
func TestLineIsRefreshed(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := &screen{Screen: &show.Screen{W: &out, Terminal: true}, out: &out, live: true, b: &Cmd{For: time.Hour, Rate: 500, Workers: 1}}
	s.begin(1024)
	assert.Contains(t, out.String(), "1h of jobs, 500 a second")
	assert.Contains(t, out.String(), "1,024 jobs before that warm it up and don't count")
	holdWidth(t, out.String())
	now := longRun().Sample
	now.Seconds, now.PerSecond, now.Published, now.Final, now.Worker = 1800, 499.7, 901_000, 900_000, now.Bench
	const line = " 50 %  30m  900,000 done  500/s  p50 51.2ms, p90 123ms, p99 1.23s  1,000 in progress  worker 1234.6 MB,"
	for range 2 {
		s.sample(now)
	}
	assert.Contains(t, out.String(), "\n\x1b[?7l"+line)
	assert.Contains(t, out.String(), "\n\x1b[A\x1b[?7l"+line)

	out.Reset()
	s.live = false
	for range 10 {
		s.sample(now)
		now.Seconds++
	}
	assert.Equal(t, 2, strings.Count(out.String(), "  900,000 done"), out.String())
}

func holdWidth(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(colours.ReplaceAllString(text, "")) {
		assert.LessOrEqual(t, utf8.RuneCountInString(strings.TrimRight(line, "\n")), 80, line)
	}
}

func TestFigures(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1_234_567: "1,234,567"} {
		assert.Equal(t, want, thousands(n))
	}
	for n, want := range map[float64]string{0: "0", 0.5: "0.5", 9.99: "10", 10: "10", 1234.5: "1,235"} {
		assert.Equal(t, want, aSecond(n))
	}
	for d, want := range map[time.Duration]string{
		0: "0s", 7: "7ns", 123456: "123µs", 1234567 * time.Nanosecond: "1.23ms", 123456 * time.Microsecond: "123ms", 1234 * time.Millisecond: "1.23s",
	} {
		assert.Equal(t, want, span(d).String())
	}
}

// colours are what a terminal is told about them.
var colours = regexp.MustCompile("\x1b\\[[0-9]+m")
