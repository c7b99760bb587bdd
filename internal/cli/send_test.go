package cli

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/passcode-worker/passcode-worker/internal/cli/command"
	"github.com/passcode-worker/passcode-worker/internal/telemetry"
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
	status := Execute(&command.Env{
		Stop: t.Context(), Force: t.Context(), Stdout: &stdout, Stderr: &stderr,
		Args: []string{"send", "--phone", "+8613800000001", "--code", "31415926"},
	})
	assert.Equal(t, command.ExitUsage, status)
	assert.Contains(t, stderr.String(), "code: must be 4 to 6")
	assert.NotContains(t, stderr.String(), "31415926")
	assert.NotContains(t, stderr.String(), "3800000001")
	assert.Empty(t, stdout.String())
}

// TestHealth tells who answers: another worker may have the address.
func TestHealth(t *testing.T) {
	t.Parallel()
	ready := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(telemetry.WorkerHeader, "vm-1-812")
		if r.URL.Path != "/livez" {
			w.WriteHeader(ready)
		}
		_, _ = fmt.Fprintln(w, "first\u202e\nsecond")
	}))
	t.Cleanup(server.Close)
	address := strings.TrimPrefix(server.URL, "http://")
	health := func(args ...string) (int, string, string) {
		var stdout, stderr bytes.Buffer
		status := Execute(&command.Env{
			Stop: t.Context(), Force: t.Context(), Stdout: &stdout, Stderr: &stderr,
			Args: append([]string{"health", "--set", "http.listen=" + address}, args...),
		})
		return status, stdout.String(), stderr.String()
	}
	status, stdout, stderr := health("--pid", "812")
	assert.Equal(t, command.ExitDone, status)
	assert.Equal(t, "first\nsecond\n", stdout)
	assert.Equal(t, "worker vm-1-812 answers at "+address+"\n", stderr)

	status, stdout, stderr = health("--pid", "12")
	assert.Equal(t, command.ExitFailed, status)
	assert.Empty(t, stdout)
	assert.Contains(t, stderr, "worker vm-1-812 answers at "+address+", not process 12: give each worker its own http.listen")

	ready = http.StatusServiceUnavailable
	status, _, _ = health()
	assert.Equal(t, command.ExitFailed, status)
	status, _, _ = health("--live")
	assert.Equal(t, command.ExitDone, status)
}
