package telemetry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/passcode-worker/passcode-worker/internal/text"
	"github.com/passcode-worker/passcode-worker/passcode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestNothingLeaksIntoTheLog, neither by type nor in the text of an error that
// quotes what it was given.
func TestNothingLeaksIntoTheLog(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"json", "text"} {
		var out bytes.Buffer
		log := NewLogger(&out, "debug", format)
		quoting := &url.Error{
			Op: "Post", URL: "http://127.0.0.1/?PhoneNumbers=13812345678&TemplateParam=%7B%22code%22%3A%22zx93kq%22%7D",
			Err: errors.New("EOF"),
		}
		log.Debug("waiting", "wait", 90*time.Second)
		assert.Contains(t, out.String(), "1m30s")
		log.Info("to 13812345678", "phone", passcode.NewPhone("+8613812345678"), "code", passcode.NewPasscode("zx93kq"),
			"secret", passcode.NewSecret("s3cret-key"), "error", quoting)
		log.Warn("x", "reasons", []string{"to 13812345678", "nats: no responders available for request"})
		assert.Contains(t, out.String(), "no NATS server answers this request")
		log.With("error", fmt.Errorf("wrapped: %w", quoting)).WithGroup("g").Warn("x", "cause", quoting)
		log.Error("x", slog.Any("job", passcode.Job{Phone: passcode.NewPhone("+8613812345678"), Code: passcode.NewPasscode("zx93kq")}))
		for _, secret := range []string{"13812345678", "zx93kq", "s3cret-key"} {
			assert.NotContains(t, out.String(), secret, format)
		}
		assert.Contains(t, out.String(), "+86138****5678")
		assert.Contains(t, out.String(), "EOF", "what went wrong stays")
		log.Info("a\u009bb", "usage_type", "Sign\u202eIn\u200b", "error", errors.New("c\x1b[31m"))
		for line := range strings.Lines(out.String()) {
			assert.False(t, strings.ContainsFunc(strings.TrimSuffix(line, "\n"), text.Hidden), "%q", line)
		}
	}
}

func TestScrub(t *testing.T) {
	t.Parallel()
	rows := map[string]string{
		"number 13812345678 refused":                    "number **** refused",
		"+8613812345678invalid":                         "****invalid",
		`Post "http://h:80/?a=1&b=zx9": EOF`:            `Post "http://h:80/?****": EOF`,
		"timeout after 5000 ms on port 42222":           "timeout after 5000 ms on port 42222",
		"records: nats: outbound buffer limit exceeded": "records: not connected to NATS",
		"is it true? yes":                               "is it true? yes",
		"/path?PhoneNumbers=138 and more? c=d":          "/path?**** and more? c=d",
		"isv.BUSINESS_LIMIT_CONTROL 触发小时级流控Permits:5":   "isv.BUSINESS_LIMIT_CONTROL 触发小时级流控Permits:5",
	}
	for raw, want := range rows {
		assert.Equal(t, want, Scrub(raw))
	}
}

// TestEveryLabelIsThereFromTheStart, so that an alert sees the first increase.
func TestEveryLabelIsThereFromTheStart(t *testing.T) {
	t.Parallel()
	m := NewMetrics([]string{"1/1m"})
	m.Gauge("oldest_job_age_seconds", "help", func() float64 { return 1.5 })
	m.Status(passcode.StatusSent)
	m.Attempt(passcode.ClassOK, 30*time.Millisecond)
	m.Sent(time.Second)
	m.InFlight(2)
	m.Lookup("accepted")
	m.Delivery("new")
	m.DeadLetter(passcode.ReasonConfig)
	m.Denied("1/1m")
	m.Trouble("claim")

	var notReady []string
	server, err := Serve(t.Context(), "127.0.0.1:0", "vm-1", m, func() []string { return notReady }, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	get := func(path string) (int, string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+server.Address()+path, nil)
		require.NoError(t, err)
		response, err := client.Do(request)
		require.NoError(t, err)
		defer response.Body.Close() //nolint:errcheck // only read
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return response.StatusCode, string(body)
	}

	status, body := get("/metrics")
	assert.Equal(t, http.StatusOK, status)
	for _, s := range passcode.Statuses() {
		assert.Contains(t, body, fmt.Sprintf("passcode_requests_total{status=%q}", s))
	}
	for _, c := range passcode.Classes() {
		assert.Contains(t, body, fmt.Sprintf("passcode_attempts_total{class=%q}", c))
	}
	for _, line := range []string{
		`passcode_requests_total{status="sent"} 1`, `passcode_requests_total{status="expired"} 0`,
		"passcode_oldest_job_age_seconds 1.5", "passcode_in_flight 2", `passcode_limit_denials_total{rule="1/1m"} 1`,
		`passcode_limit_denials_total{rule="closed"} 0`, "passcode_sent_after_seconds_count 1",
		`passcode_broker_errors_total{operation="claim"} 1`,
	} {
		assert.Contains(t, body, line+"\n")
	}

	for _, name := range []string{
		"go_goroutines", "go_memstats_heap_inuse_bytes", "go_gc_heap_live_bytes", "process_cpu_seconds_total",
	} {
		assert.Contains(t, body, "\n"+name+" ", "worker bench reads it")
	}

	status, body = get("/livez")
	assert.Equal(t, http.StatusOK, status)
	assert.Equal(t, "ok\n", body)
	status, _ = get("/readyz")
	assert.Equal(t, http.StatusOK, status)
	notReady = []string{"broker: not connected", "account: closed"}
	status, body = get("/readyz")
	assert.Equal(t, http.StatusServiceUnavailable, status)
	assert.Equal(t, strings.Join(notReady, "\n")+"\n", body)
	status, _ = get("/livez")
	assert.Equal(t, http.StatusOK, status, "a worker that waits for its broker is not to be restarted")

	require.NoError(t, server.Close(t.Context()))
	_, err = Serve(t.Context(), "256.0.0.1:1", "vm-1", m, nil, slog.New(slog.DiscardHandler))
	require.ErrorContains(t, err, "http.listen")
}
