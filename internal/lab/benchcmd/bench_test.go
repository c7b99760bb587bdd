package benchcmd

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/cli/show"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/lab/bench"
	"github.com/passcode-worker/passcode-worker/internal/lab/system"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// TestBenchReachesNothingElse, whatever the operator's settings name: no account,
// no Aliyun, no broker of theirs.
func TestBenchReachesNothingElse(t *testing.T) {
	t.Parallel()
	theirs := config.Default()
	theirs.Worker.Concurrency, theirs.Aliyun.Timeout, theirs.Aliyun.MaxQPS = 7, 3*time.Second, 100
	theirs.Aliyun.Endpoint, theirs.Aliyun.Protocol, theirs.Aliyun.SignName = "dysmsapi.aliyuncs.com", "https", "Theirs"
	theirs.Aliyun.AccessKeyID, theirs.Aliyun.AccessKeySecret = config.NewKeyID("their-key"), passcode.NewSecret("their-secret")
	theirs.Aliyun.ConnectorFile, theirs.Limits.Key = "connector.json", passcode.NewSecret("their-hmac-key")
	theirs.NATS.URL, theirs.NATS.Creds = config.NewServerURLs("nats://nats.example:4222"), "their.creds"

	cfg := benchSettings(theirs, "nats://127.0.0.1:1", "127.0.0.1:2")
	assert.Equal(t, 7, cfg.Worker.Concurrency)
	assert.Equal(t, 3*time.Second, cfg.Aliyun.Timeout)
	assert.Equal(t, 100, cfg.Aliyun.MaxQPS)
	assert.Equal(t, "127.0.0.1:2", cfg.Aliyun.Endpoint)
	var printed bytes.Buffer
	require.NoError(t, config.Print(&printed, cfg))
	for _, other := range []string{"aliyuncs", "Theirs", "their", "connector.json", "example"} {
		assert.NotContains(t, printed.String(), other)
	}
	own := system.OwnEnviron([]string{"PATH=/bin", "PASSCODE_ALIYUN__ENDPOINT=dysmsapi.aliyuncs.com", "PASSCODE_CONFIG=theirs.yaml"})
	assert.Equal(t, []string{"PATH=/bin"}, own)
}

func TestBenchWarmUp(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ concurrency, qps, workers, want int }{
		{256, 0, 1, 1024},
		{256, 0, 3, 3072},
		{1, 0, 1, 4},
		{4096, 0, 64, benchWarmUpMost},
		{256, 100, 1, 200},
		{256, 100, 3, 600},
		{256, 5000, 1, 1024},
	} {
		cfg := config.Default()
		cfg.Worker.Concurrency, cfg.Aliyun.MaxQPS = row.concurrency, row.qps
		assert.Equal(t, row.want, benchWarmUp(cfg, row.workers), row)
	}
}

func TestBehind(t *testing.T) {
	t.Parallel()
	const text = `{"msg":"other","address":"no"}` + "\n" + `{"msg":"HTTP listens","worker":"w","address":"127.0.0.1:5"}` + "\nlistening on http://127.0.0.1:6\nready: 1"
	for _, row := range []struct {
		parts []string
		want  string
		found bool
	}{
		{[]string{`"msg":"HTTP listens"`, `"address":"`}, "127.0.0.1:5", true},
		{[]string{"listening on http://"}, "127.0.0.1:6", true},
		{[]string{`"address":"`, `"msg":"HTTP listens"`}, "", false},
		{[]string{"ready: "}, "", false}, // the line may not be whole yet
	} {
		got, found := behind(text, row.parts)
		assert.Equal(t, row.found, found, row.parts)
		assert.Equal(t, row.want, got)
	}
}

func TestListenerKeepsTheFirstAndTheLast(t *testing.T) {
	t.Parallel()
	l := newListener()
	_, more := l.head()
	for i := range 100_000 {
		n, err := fmt.Fprintf(l, "line %d\n", i)
		require.NoError(t, err)
		require.Positive(t, n)
	}
	<-more
	first, _ := l.head()
	assert.True(t, strings.HasPrefix(first, "line 0\nline 1\n"))
	assert.Len(t, first, keptFirst)
	last := l.tail()
	assert.True(t, strings.HasSuffix(last, "\nline 99999"))
	assert.True(t, strings.HasPrefix(last, "line 99"), "whole lines")
	assert.LessOrEqual(t, len(last), keptLast)
}

// TestBenchChildThatEnds is reported with what it last said.
func TestBenchChildThatEnds(t *testing.T) {
	t.Parallel()
	c := &benchChild{Child: &system.Child{Cmd: exec.CommandContext(t.Context(), "true"), Done: make(chan struct{})}, name: "run", said: newListener()}
	_, _ = fmt.Fprintln(c.said, "no room on the disk")
	close(c.Done)
	_, err := c.says(t.Context(), "ready")
	require.ErrorContains(t, err, "no room on the disk")

	running := &benchChild{Child: &system.Child{Done: make(chan struct{})}, name: "emulator", said: newListener()}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(fmt.Errorf("not within a minute"))
	_, err = running.says(ctx, "listening")
	require.EqualError(t, err, "worker emulator: not within a minute")
}

// longRun is a summary with figures as large as they get.
func longRun() bench.Summary {
	u := bench.Usage{Resident: 1_234_567_890, HeapInUse: 934_567_890, HeapLive: 834_567_890, Goroutines: 12345, Files: 1234}
	return bench.Summary{
		Type: "summary", Seconds: 36_000, Published: 18_000_000, Final: 18_000_000, PerSecond: 5000,
		Statuses: map[passcode.Status]int{passcode.StatusSent: 18_000_000},
		Latency:  bench.LatencySeconds{P50: .0512, P95: .1234, P99: 1.2345, Max: 123.4567},
		CPU:      bench.CPU{Worker: .00041, Emulator: .00014, Rest: .00024},
		Memory:   bench.Memory{After: 50_000, Early: &u, Late: u, Most: u}, Emulator: u, Rest: u,
		Audit: bench.Audit{Accepted: 18_000_000},
	}
}

func TestBenchSummary(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := &benchScreen{w: &out, out: &out, paint: func(_, text string) string { return text }, b: &Cmd{}}
	require.NoError(t, s.summary(longRun()))
	for _, want := range []string{
		"18,000,000 jobs in 10h: 5,000 a second", "p50 51.2ms, p95 123ms, p99 1.23s", "AFTER 50,000", "+0.0 %",
		"worker 0.41 ms", "The emulator accepted 18,000,000 of 18,000,000 jobs: none lost, none sent twice.",
	} {
		assert.Contains(t, out.String(), want)
	}
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

// TestBenchPicture is drawn over the one before, within the usual 80 columns.
func TestBenchPicture(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := &benchScreen{
		w: &out, out: &out, live: true, paint: (&show.Screen{Terminal: true}).Paint,
		b: &Cmd{For: time.Hour, Rate: 500, Workers: 1}, title: "1 worker",
	}
	s.begin(1024)
	assert.Contains(t, out.String(), "1h of jobs, 500 a second")
	assert.Contains(t, out.String(), "1,024 jobs before that warm it up and don't count")
	u := longRun().Memory.Late
	u.CPU = time.Minute
	now := bench.Sample{Elapsed: 30 * time.Minute, Rate: 499.7, Worker: u, Emulator: u, Rest: u}
	now.Published, now.Final, now.Statuses = 901_000, 900_000, map[passcode.Status]int{passcode.StatusSent: 899_000, passcode.StatusExpired: 1000}
	s.sample(now, bench.Sample{})
	s.sample(now, bench.Sample{Elapsed: now.Elapsed - time.Second, Worker: bench.Usage{CPU: u.CPU - time.Second/2}})
	text := out.String()
	assert.Contains(t, text, "\x1b[6A")
	assert.Contains(t, text, strings.Repeat("█", benchBar/2)+"░", "half of the hour")
	assert.Contains(t, text, "500/s")
	assert.Contains(t, text, "CPU 50 %")
	assert.Contains(t, text, "1,000 under way")
	holdWidth(t, text)
}

var moves = strings.NewReplacer("\r", "", "\x1b[K", "", "\x1b[6A", "")

func holdWidth(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(moves.Replace(colours.ReplaceAllString(text, ""))) {
		assert.LessOrEqual(t, utf8.RuneCountInString(strings.TrimRight(line, "\n")), 80, line)
	}
}

func TestThousands(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1_234_567: "1,234,567"} {
		assert.Equal(t, want, thousands(n))
	}
}

func TestBrief(t *testing.T) {
	t.Parallel()
	for d, want := range map[time.Duration]string{
		0: "0s", 1234567 * time.Nanosecond: "1.2ms", 123456 * time.Microsecond: "123ms", 1234 * time.Millisecond: "1.23s",
	} {
		assert.Equal(t, want, brief(d))
	}
}

// colours are what a terminal is told about them.
var colours = regexp.MustCompile("\x1b\\[[0-9]+m")
