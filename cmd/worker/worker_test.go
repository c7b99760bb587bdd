package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/passcode"
)

func TestDialable(t *testing.T) {
	t.Parallel()
	for listen, want := range map[string]string{
		"127.0.0.1:8080": "127.0.0.1:8080",
		"0.0.0.0:8080":   "127.0.0.1:8080",
		":8080":          "127.0.0.1:8080",
		"[::]:8080":      "[::1]:8080",
		"localhost:1":    "localhost:1",
		"nonsense":       "nonsense",
	} {
		assert.Equal(t, want, dialable(listen), listen)
	}
}

// TestPrefetch: what waits in the worker is taken up well within its lease, at
// the lowest pace too.
func TestPrefetch(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		concurrency, qps int
		ackWait          time.Duration
		want             int
	}{
		{256, 0, 30 * time.Second, 60},
		{256, 0, 60 * time.Second, 64},
		{8, 0, 30 * time.Second, 8},
		{256, 1, 30 * time.Second, 20},
		{256, 5000, 30 * time.Second, 60},
		{256, 0, 200 * time.Millisecond, 1},
	} {
		cfg := config.Default()
		cfg.Worker.Concurrency, cfg.Aliyun.MaxQPS, cfg.Worker.AckWait = row.concurrency, row.qps, row.ackWait
		assert.Equal(t, row.want, prefetch(cfg), "%+v", row)
	}
}

func TestWhy(t *testing.T) {
	t.Parallel()
	r := passcode.Result{Error: &passcode.Error{Code: "phone_limit", Message: "used up"}, RetryAfterSeconds: 90}.In(passcode.StatusRateLimited)
	assert.Equal(t, "rate_limited (phone_limit: used up); try again after 1m30s", why(r))
	assert.Equal(t, "sending", why(passcode.Result{}.In(passcode.StatusSending)))
}

// TestSendChecksBeforeItConnects, and never shows what it was given.
func TestSendChecksBeforeItConnects(t *testing.T) {
	t.Parallel()
	var stdout, stderr bytes.Buffer
	status := execute(&env{
		stop: t.Context(), force: t.Context(), stdout: &stdout, stderr: &stderr,
		args: []string{"send", "--phone", "+8613800000001", "--code", "31415926"},
	})
	assert.Equal(t, exitUsage, status)
	assert.Contains(t, stderr.String(), "code: must be 4 to 6")
	assert.NotContains(t, stderr.String(), "31415926")
	assert.NotContains(t, stderr.String(), "3800000001")
	assert.Empty(t, stdout.String())
}

// TestScreenWithoutTerminal: plain lines, no escape codes.
func TestScreenWithoutTerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := newScreen(&out)
	s.begin(scene{path: "retried", story: "twice"})
	now := time.Now()
	s.state(passcode.Result{
		Error: &passcode.Error{Code: "Throttling.User"}, UpdatedAt: now, NextAttemptAt: now.Add(300 * time.Millisecond),
	}.In(passcode.StatusRetrying))
	s.state(passcode.Result{Attempts: 2}.In(passcode.StatusSending))
	s.state(passcode.Result{Attempts: 2, Recovered: true}.In(passcode.StatusSent))
	for i := range 4 {
		s.progress(i+1, 4)
	}
	s.end()
	s.table([]row{{"retried", passcode.Result{RequestID: strings.Repeat("r", 30), Attempts: 2}.In(passcode.StatusSent), "well"}})
	text := out.String()
	assert.NotContains(t, text, "\x1b")
	for _, want := range []string{
		"retrying (Throttling.User, again in 300ms)", "sending (attempt 2)", "sent (recovered by look-up)", "4 of 4 sent", "PATH", "well",
	} {
		assert.Contains(t, text, want)
	}
}

var colours = regexp.MustCompile("\x1b\\[[0-9]+m")

// TestScreenOnATerminal: the states of a request stand on one line, as far as
// they fit.
func TestScreenOnATerminal(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := &screen{w: &out, terminal: true}
	s.begin(scene{path: "sent", story: "one"})
	s.state(passcode.Result{}.In(passcode.StatusSending))
	s.note("killed")
	s.state(passcode.Result{BizID: "B^0"}.In(passcode.StatusSent))
	s.end()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 2)
	assert.Contains(t, lines[1], "→")
	assert.Contains(t, lines[1], "\x1b[32msent")

	out.Reset()
	s.begin(scene{path: "long", story: "many states"})
	for range 9 {
		s.state(passcode.Result{Error: &passcode.Error{Code: "Throttling.User"}}.In(passcode.StatusRetrying))
	}
	s.state(passcode.Result{Error: &passcode.Error{Code: "x", Message: strings.Repeat("word ", 40)}}.In(passcode.StatusRejected))
	for line := range strings.Lines(colours.ReplaceAllString(out.String(), "")) {
		assert.LessOrEqual(t, utf8.RuneCountInString(strings.TrimRight(line, "\n")), width, line)
	}
}
