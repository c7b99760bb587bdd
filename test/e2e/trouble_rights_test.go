package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/test/brokertest"
)

// The users of a broker whose settings change under a worker.
const (
	allowed  = "admin"
	workerAs = "worker"
	password = "a-password-of-the-tests"
)

// users are an administrator and a worker, who may do all but what is denied.
func users(deny server.Permissions) func(*server.Options) {
	return func(o *server.Options) {
		o.Users = []*server.User{
			{Username: allowed, Password: password},
			{Username: workerAs, Password: password, Permissions: &deny},
		}
	}
}

// withUsers starts a system whose worker is a user with rights.
func withUsers(t *testing.T) *troubled {
	t.Helper()
	s := troubledOn(t, brokertest.Server(t, users(server.Permissions{})), []nats.Option{nats.UserInfo(allowed, password)})
	s.run("nats.user", workerAs, "nats.password", password)
	s.w.Forbid(password)
	s.wentOn("before", s.goodAndBad("before", 1, 0))
	return s
}

func noPublish(subjects ...string) server.Permissions {
	return server.Permissions{Publish: &server.SubjectPermission{Deny: subjects}}
}

// TestRightLost: the worker's user loses a right, and gets it back. What is denied
// is named, jobs wait, and none is sent twice.
func TestRightLost(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		deny     server.Permissions
		says     string // in the log, of the right
		notReady string
	}{
		"records":      {noPublish("$KV.passcode-requests.>"), `"$KV.passcode-requests.*"`, "the records fail since"},
		"limits":       {noPublish("$KV.passcode-limits.>"), `"$KV.passcode-limits.*"`, "the limits fail since"},
		"dead letters": {noPublish("passcode.dead.>"), `passcode.dead.invalid.`, "the dead letters fail since"},
		"pull":         {noPublish("$JS.API.CONSUMER.MSG.NEXT.>"), `"$JS.API.CONSUMER.MSG.NEXT.PASSCODE.passcode-worker"`, "no answer while jobs are waited for"},
		"inbox": {
			server.Permissions{Subscribe: &server.SubjectPermission{Deny: []string{"_INBOX_passcode-worker.>"}}},
			`"_INBOX_passcode-worker.>"`, "broker: bucket passcode-requests: no answer within 2s",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := withUsers(t)
			s.broker.Reload(users(test.deny))
			ids := s.goodAndBad("after", 20, 10)
			s.named(test.notReady)
			s.w.WaitFor("NATS denies a right that is needed here", bound)
			assert.Contains(t, s.w.Output(), test.says)
			s.broker.Reload(users(server.Permissions{}))
			s.wentOn("after", ids)
			s.quiet()
		})
	}
}

// TestUserRemoved: the worker's user is gone from the broker's settings for longer
// than several tries to connect, and is put back.
func TestUserRemoved(t *testing.T) {
	t.Parallel()
	s := withUsers(t)
	s.broker.Reload(func(o *server.Options) { o.Users = o.Users[:1] })
	s.w.WaitFor("NATS refuses the credentials", bound)
	s.named("broker: not connected")
	ids := s.goodAndBad("after", 10, 10)
	tries := func() uint64 {
		v, err := s.broker.Running().Varz(nil)
		require.NoError(t, err)
		return v.TotalConnections
	}
	seen := tries()
	require.Eventually(t, func() bool { return tries() >= seen+4 }, bound, 20*time.Millisecond, "it goes on trying")
	s.broker.Reload(users(server.Permissions{}))
	s.wentOn("after", ids)
	s.quiet()
}

// TestCredsRotated: the worker's credentials expire under it, and new ones are
// written into the same file.
func TestCredsRotated(t *testing.T) {
	t.Parallel()
	o := brokertest.NewOperator(t)
	dir := t.TempDir()
	write := func(name string, life time.Duration) string {
		file := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(file, o.Creds(t, life), 0o600))
		return file
	}
	s := troubledOn(t, brokertest.Server(t, o.Options), []nats.Option{nats.UserCredentials(write("admin.creds", 0))})
	s.run("nats.creds", write("worker.creds", 0))
	s.wentOn("before", s.goodAndBad("before", 1, 0))
	write("worker.creds", time.Second) // soon expired, or by the time that it connects
	conns, err := s.broker.Running().Connz(&server.ConnzOptions{})
	require.NoError(t, err)
	for _, conn := range conns.Conns {
		if strings.HasPrefix(conn.Name, "passcode-worker") {
			require.NoError(t, s.broker.Running().DisconnectClientByID(conn.Cid))
		}
	}
	s.w.WaitFor("NATS refuses the credentials", bound)
	s.named("broker: not connected")
	ids := s.goodAndBad("after", 10, 10)
	write("worker.creds", 0)
	s.wentOn("after", ids)
	s.quiet()
}
