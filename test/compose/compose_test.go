package compose

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

const (
	oneServer = "docker-compose.yml"
	cluster   = "docker-compose.cluster.yml"
	code      = "pq7z9x"
)

// TestJobsFlow: everything comes up with one command, a job published from outside
// has its result, and when a worker is killed the jobs go on with the other.
func TestJobsFlow(t *testing.T) {
	t.Parallel()
	p := newProject(t, oneServer)
	p.up(code, harness.AccessKeySecret)
	nc, js := p.connect("nats")
	jobs := listen(t, nc, js)
	first := jobs.job(1)
	assert.Equal(t, passcode.StatusSent, first.Status)
	for _, worker := range []string{"worker-1", "worker-2"} {
		require.Eventually(t, func() bool {
			_, err := p.try("exec", "-T", worker, "/worker", "health")
			return err == nil
		}, bound, 100*time.Millisecond, "the image's health check, asked in %s", worker)
	}

	p.order("kill", "worker-1")
	workers := map[string]bool{}
	for i := range 20 {
		r := jobs.job(2 + i)
		assert.Equal(t, passcode.StatusSent, r.Status)
		workers[r.Worker] = true
	}
	assert.Len(t, workers, 1, "all sent by the worker that is left")

	var sent []string
	for _, one := range harness.AdminAt(t, "http://"+p.address("emulator", "9080")).Sent() {
		sent = append(sent, one.OutID)
	}
	assert.Len(t, sent, 21)
}

// TestCluster: with the override file everything has three copies, and neither the
// loss of a server nor that of a worker stops the jobs.
func TestCluster(t *testing.T) {
	t.Parallel()
	p := newProject(t, oneServer, cluster)
	p.up(code, harness.AccessKeySecret)
	nc, js := p.connect("nats", "nats-2", "nats-3")
	jobs := listen(t, nc, js)
	assert.Equal(t, passcode.StatusSent, jobs.job(1).Status)
	for _, name := range []string{"PASSCODE", "PASSCODE_DEAD", "KV_passcode-requests", "KV_passcode-limits"} {
		stream, err := js.Stream(t.Context(), name)
		require.NoError(t, err)
		assert.Equal(t, 3, stream.CachedInfo().Config.Replicas, name)
	}

	p.order("kill", "worker-1", "nats-2")
	for i := range 10 {
		assert.Equal(t, passcode.StatusSent, jobs.job(2+i).Status)
	}
}

// TestTheRealAliyun: one variable leads the workers there, and an example that is
// not filled in is refused.
func TestTheRealAliyun(t *testing.T) {
	t.Parallel()
	p := newProject(t, oneServer)
	printed := func(envFile string) (string, error) {
		p.env = append(p.env, "ALIYUN_ENV="+envFile)
		return p.try("run", "--rm", "--no-deps", "-T", "worker-1", "config", "print")
	}
	t.Cleanup(p.down) // "run" makes a network

	account := filepath.Join(t.TempDir(), "aliyun.env")
	require.NoError(t, os.WriteFile(account, []byte(strings.Join([]string{
		"PASSCODE_ALIYUN__ACCESS_KEY_ID=LTAI5tComposeKeyId", "PASSCODE_ALIYUN__ACCESS_KEY_SECRET=ComposeKeySecret0123456789",
		"PASSCODE_ALIYUN__SIGN_NAME=签名", `PASSCODE_ALIYUN__TEMPLATES=[{"usage_type":"Generic","template_code":"SMS_200000001"}]`, "",
	}, "\n")), 0o600))
	settings, err := printed(account)
	require.NoError(t, err)
	for _, line := range []string{"endpoint: dysmsapi.aliyuncs.com", "protocol: https", "sign_name: 签名", "SMS_200000001", "url: nats://nats:4222"} {
		assert.Contains(t, settings, line)
	}
	assert.NotContains(t, settings, "ComposeKeySecret0123456789")

	settings, err = printed("")
	require.NoError(t, err)
	assert.Contains(t, settings, "endpoint: emulator:9080")

	_, err = printed("build/compose/aliyun.env.example")
	require.ErrorContains(t, err, "placeholder")
	for _, key := range []string{"access_key_id", "access_key_secret", "sign_name", "templates"} {
		assert.ErrorContains(t, err, "aliyun."+key)
	}
}

// results publishes jobs and hears what becomes of them.
type results struct {
	t      *testing.T
	js     jetstream.JetStream
	finals chan passcode.Result
}

func listen(t *testing.T, nc *nats.Conn, js jetstream.JetStream) *results {
	t.Helper()
	r := &results{t: t, js: js, finals: make(chan passcode.Result, 100)}
	harness.OnResult(t, nc, func(result passcode.Result) {
		if result.Final {
			r.finals <- result
		}
	})
	return r
}

// job publishes job number i, until the stream has it, and returns its final
// result. The stream may not be there yet, or may have lost its leader.
func (r *results) job(i int) passcode.Result {
	r.t.Helper()
	id := fmt.Sprintf("r%d", i)
	ctx, cancel := context.WithTimeout(r.t.Context(), bound)
	defer cancel()
	require.NoError(r.t, harness.Publish(ctx, r.js, id, fmt.Sprintf(`{"request_id":%q,"phone":"+86138%08d","code":%q}`, id, i, code)))
	for {
		select {
		case result := <-r.finals:
			if result.RequestID == id {
				return result
			}
		case <-ctx.Done():
			require.Fail(r.t, "no final result", id)
		}
	}
}
