package system

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/internal/lab/emulator"
	"github.com/passcode-worker/passcode-worker/passcode"
)

// TestMain also plays the program that is started: it says many lines and ends.
func TestMain(m *testing.M) {
	if os.Getenv("SYSTEM_TEST_LINES") != "" {
		for i := range 1000 {
			fmt.Println(`{"msg":"line","number":"` + fmt.Sprint(i) + `"}`)
		}
		fmt.Fprint(os.Stderr, "no space on the disk")
		os.Exit(3)
	}
	goleak.VerifyTestMain(m)
}

// TestWorkersReachNothingElse, whatever the operator's settings name: no account,
// no Aliyun, no broker of theirs.
func TestWorkersReachNothingElse(t *testing.T) {
	t.Parallel()
	theirs := config.Default()
	theirs.Worker.Concurrency, theirs.Aliyun.Timeout, theirs.Aliyun.MaxQPS = 7, 3*time.Second, 100
	theirs.Aliyun.Endpoint, theirs.Aliyun.Protocol, theirs.Aliyun.SignName = "dysmsapi.aliyuncs.com", "https", "Theirs"
	theirs.Aliyun.AccessKeyID, theirs.Aliyun.AccessKeySecret = config.NewKeyID("their-key"), passcode.NewSecret("their-secret")
	theirs.Aliyun.ConnectorFile, theirs.Limits.Key = "connector.json", passcode.NewSecret("their-hmac-key")
	theirs.NATS.URL, theirs.NATS.Creds = config.NewServerURLs("nats://nats.example:4222"), "their.creds"

	cfg := ownSettings(theirs, "nats://127.0.0.1:1", "127.0.0.1:2")
	assert.Equal(t, 7, cfg.Worker.Concurrency)
	assert.Equal(t, 3*time.Second, cfg.Aliyun.Timeout)
	assert.Equal(t, 100, cfg.Aliyun.MaxQPS)
	assert.Equal(t, "127.0.0.1:2", cfg.Aliyun.Endpoint)
	var printed bytes.Buffer
	require.NoError(t, config.Print(&printed, cfg))
	for _, other := range []string{"aliyuncs", "Theirs", "their", "connector.json", "example"} {
		assert.NotContains(t, printed.String(), other)
	}
	own := withoutSettings([]string{"PATH=/bin", "PASSCODE_ALIYUN__ENDPOINT=dysmsapi.aliyuncs.com", "PASSCODE_CONFIG=theirs.yaml"})
	assert.Equal(t, []string{"PATH=/bin"}, own)
}

// TestNothingOfTheirsIsTouched on a broker that is theirs: every stream, bucket and subject is the system's own.
func TestNothingOfTheirsIsTouched(t *testing.T) {
	t.Parallel()
	theirs := config.Default()
	theirs.NATS.Creds, theirs.NATS.Replicas = "their.creds", 3
	cfg := ownSettings(theirs, "", "127.0.0.1:2")
	settleApart(&cfg, theirs.NATS, "passcode-bench-ABCDEFGH")
	assert.Equal(t, theirs.NATS, cfg.NATS)
	for _, item := range broker.Items(cfg, 0) {
		assert.Contains(t, item.Stream, "passcode-bench-ABCDEFGH")
	}
	for _, subject := range []string{cfg.Jobs.Subject, cfg.Results.Subject, cfg.DeadLetters.Subject} {
		assert.True(t, strings.HasPrefix(subject, "passcode-bench-ABCDEFGH."), subject)
	}
	var printed bytes.Buffer
	require.NoError(t, config.Print(&printed, cfg))
	file := filepath.Join(t.TempDir(), "worker.yaml")
	require.NoError(t, os.WriteFile(file, printed.Bytes(), 0o600))
	_, err := config.Load(config.Source{File: file})
	require.NoError(t, err, "a worker takes these names")
}

func startLines(t *testing.T, keep int, log *bytes.Buffer) *Process {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, "run")
	cmd.Env, cmd.Dir = []string{"SYSTEM_TEST_LINES=1"}, t.TempDir()
	p, err := StartProcess(cmd, keep, log)
	require.NoError(t, err)
	t.Cleanup(p.Kill)
	return p
}

// TestProcessKeepsTheLast of what it says, whole lines, and logs everything.
func TestProcessKeepsTheLast(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	p := startLines(t, 1000, &log)
	<-p.Done()
	out := p.Output()
	assert.LessOrEqual(t, len(out), 1100)
	assert.True(t, strings.HasPrefix(out, `{"msg":"line","number":"9`), out)
	assert.Contains(t, out, "no space on the disk\n")
	assert.Equal(t, 1001, strings.Count(log.String(), "\n"))
	assert.Equal(t, 3, p.cmd.ProcessState.ExitCode())
	require.ErrorContains(t, p.Ended(), "worker run ended (exit status 3); it last said:")
	require.ErrorContains(t, p.Ended(), "no space on the disk")
}

func TestWaitFor(t *testing.T) {
	t.Parallel()
	p := startLines(t, 0, &bytes.Buffer{})
	line, behind, err := p.WaitFor(t.Context(), `"msg":"line"`, `"number":"`)
	require.NoError(t, err)
	assert.Equal(t, `{"msg":"line","number":"0"}`, line)
	assert.Equal(t, "0", behind)
	_, _, err = p.WaitFor(t.Context(), `"number":"`, `"msg":"line"`)
	require.ErrorContains(t, err, "worker run ended", "the parts must follow on one another")

	running := &Process{changed: make(chan struct{})}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("not within a minute"))
	_, _, err = running.WaitFor(ctx, "listening")
	require.EqualError(t, err, "not within a minute")
}

// TestEachTellsWhatCameBeforeAFailure, so that the next call goes on behind.
func TestEachTellsWhatCameBeforeAFailure(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "5", r.URL.Query().Get("after"))
		fmt.Fprint(w, `{"out_id":"a"}`+"\n"+`{"out_id":`)
	}))
	t.Cleanup(server.Close)
	var ids []string
	err := Admin{URL: server.URL}.Each(t.Context(), 5, func(s emulator.Sent) { ids = append(ids, s.OutID) })
	require.ErrorContains(t, err, "what the emulator accepted")
	assert.Equal(t, []string{"a"}, ids)
}
