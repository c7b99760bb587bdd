package check

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/config"
	"github.com/passcode-worker/passcode-worker/test/brokertest"
)

// ofBroker are the checks of the broker.
var ofBroker = []string{checkBroker, checkVersion, checkReplicas, checkRights, checkStream, "bucket", "consumer"}

// provisioned runs a server that has all that the plan wants.
func provisioned(t *testing.T, configure ...func(*server.Options)) (*brokertest.Handle, jetstream.JetStream) {
	t.Helper()
	srv := brokertest.Server(t, configure...)
	_, js := srv.Connect()
	_, err := broker.Provision(t.Context(), js, plan().Config, plan().LimitsTTL, true)
	require.NoError(t, err)
	return srv, js
}

func TestGoodBroker(t *testing.T) {
	t.Parallel()
	srv, _ := provisioned(t)
	p := plan().on(srv)
	p.Config.Results.ReplySubjects = []string{"passcode.result.>", "_INBOX.>"}
	results := found(t, p)
	assert.Empty(t, brief(results, ofBroker...))
	names := make([]string, 0, len(results))
	for _, r := range results {
		names = append(names, r.Check+" "+r.Name)
	}
	assert.Equal(t, []string{
		"settings ", "broker ", "version ", "rights ",
		"bucket passcode-requests", "bucket passcode-limits", "stream PASSCODE_DEAD", "stream PASSCODE", "consumer passcode-worker",
		"endpoint ", "clock ", "credentials ", "signature Acme", "template SMS_1", "template SMS_2",
	}, names)
}

func TestNoBroker(t *testing.T) {
	t.Parallel()
	skipped := []string{
		"warn version : not checked: see broker", "warn rights : not checked: see broker", "warn stream : not checked: see broker",
	}
	for _, test := range []struct{ err, fix string }{
		{errNoBroker.Error(), "start the broker"},
		{"nats: Authorization Violation", "nats.creds"},
		{"tls: failed to verify certificate: x509: certificate signed by unknown authority", "nats.tls.ca"},
		{"nats: secure connection not available", "nats.tls.ca"},
		{"nats.creds: open x: no such file", "correct that setting"},
	} {
		p := plan()
		p.Dial = func(context.Context) (*nats.Conn, error) { return nil, errors.New(test.err) }
		results := found(t, p)
		assert.Equal(t, append([]string{"fail broker : nats://127.0.0.1:4222: " + test.err}, skipped...), brief(results, ofBroker...))
		assert.Contains(t, results[1].Fix, test.fix)
		assert.Empty(t, brief(results, ofAliyun...))
	}
	p := plan()
	p.Config.NATS.Embedded.Enabled = true
	assert.Equal(t, append([]string{
		"warn broker : the embedded broker does not answer at 127.0.0.1:4222, since it runs inside the worker",
	}, skipped...), brief(found(t, p), ofBroker...))
}

func TestReplicasAndCluster(t *testing.T) {
	t.Parallel()
	single := brokertest.Server(t)
	// Without JetStream one server is a cluster.
	cluster := brokertest.Server(t, func(o *server.Options) {
		o.JetStream, o.Cluster = false, server.ClusterOpts{Name: "east", Host: "127.0.0.1", Port: -1}
	})
	for _, test := range []struct {
		srv      *brokertest.Handle
		replicas int
		want     []string
	}{
		{single, 1, nil},
		{single, 3, []string{"fail replicas : nats.replicas is 3, and this server is in no cluster"}},
		{cluster, 1, []string{"warn replicas : nats.replicas is 1 in the cluster east: what one server loses is lost"}},
		{cluster, 3, nil},
	} {
		p := plan().on(test.srv)
		p.Config.NATS.Replicas = test.replicas
		assert.Equal(t, test.want, brief(found(t, p), checkReplicas))
	}
}

func TestNoJetStream(t *testing.T) {
	t.Parallel()
	srv := brokertest.Server(t, func(o *server.Options) { o.JetStream = false })
	got := brief(found(t, plan().on(srv)), ofBroker...)
	require.Len(t, got, 5)
	assert.Contains(t, got[0], "fail bucket passcode-requests: ")
	assert.Contains(t, got[0], "nobody answers JetStream requests")
	const see = ": not checked: see bucket passcode-requests"
	assert.Equal(t, []string{
		"warn bucket passcode-limits" + see, "warn stream PASSCODE_DEAD" + see, "warn stream PASSCODE" + see, "warn consumer passcode-worker" + see,
	}, got[1:])
}

func TestRights(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		user server.Permissions
		want []string
	}{
		{"no results", server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"passcode.result.>"}}}, []string{
			"fail rights publish passcode.result.*: not allowed: announce a stored result again to whoever repeated its job",
		}},
		{"one item unseen", server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"$JS.API.STREAM.INFO.PASSCODE_DEAD"}}}, []string{
			"fail rights publish $JS.API.STREAM.INFO.PASSCODE_DEAD: not allowed: compare the stream with the settings, and watch over it",
			"warn stream PASSCODE_DEAD: not checked: see rights",
		}},
		{"no answers", server.Permissions{Subscribe: &server.SubjectPermission{Deny: []string{broker.WorkerInbox + ".>"}}}, []string{
			"fail rights subscribe _INBOX_passcode-worker.>: not allowed: receive jobs and every answer of the broker",
			"warn bucket passcode-requests: not checked: see rights", "warn bucket passcode-limits: not checked: see rights",
			"warn stream PASSCODE_DEAD: not checked: see rights", "warn stream PASSCODE: not checked: see rights",
			"warn consumer passcode-worker: not checked: see rights",
		}},
		{"may not ask", server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"$SYS.>"}}}, []string{
			"warn rights publish $SYS.REQ.USER.INFO: not allowed, and not needed on every server: " +
				"ask the server for its own rights; without it worker check sees no other that is missing",
		}},
		{"what not every server needs", server.Permissions{Publish: &server.SubjectPermission{Allow: indispensable()}}, []string{
			"warn rights publish $JS.ACK.*.*.PASSCODE.passcode-worker.>: not allowed, and not needed on every server: " +
				"the same where the server has js_ack_fc_v2 on (2.14 and later)",
			"warn rights publish $JS.FC.*.*.KV_passcode-limits.>: not allowed, and not needed on every server: " +
				"the same where the server has js_ack_fc_v2 on (2.14 and later)",
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			srv, _ := provisioned(t, func(o *server.Options) {
				o.Users = []*server.User{{Username: "admin", Password: "admin"}, {Username: "worker", Password: "worker", Permissions: &test.user}}
				o.NoAuthUser = "admin"
			})
			p := plan().on(srv)
			p.Config.Results.ReplySubjects = nil
			p.Dial = func(ctx context.Context) (*nats.Conn, error) {
				return broker.Connect(ctx, config.NATS{URL: config.NewServerURLs("nats://worker:worker@" + srv.URL()[len("nats://"):])}, "test", broker.WorkerInbox, slog.New(slog.DiscardHandler), nats.RetryOnFailedConnect(false))
			}
			results := found(t, p)
			assert.Equal(t, test.want, brief(results, ofBroker...))
			for _, r := range results {
				if r.Check == checkRights {
					assert.Contains(t, r.Fix, "add it to permissions.")
				}
			}
		})
	}
}

// indispensable are the subjects to publish on that every server needs, and the question
// for the rights.
func indispensable() []string {
	list := []string{"$SYS.REQ.USER.INFO"}
	cfg := config.Default()
	cfg.Results.ReplySubjects = nil
	for _, right := range broker.WorkerRights(cfg) {
		if right.Direction == broker.Publish && !right.Dispensable() {
			list = append(list, right.Subject)
		}
	}
	return list
}

func TestItems(t *testing.T) {
	t.Parallel()
	srv, js := provisioned(t)
	require.NoError(t, js.DeleteStream(t.Context(), "KV_passcode-limits"))
	require.NoError(t, js.DeleteConsumer(t.Context(), "PASSCODE", "passcode-worker"))
	require.NoError(t, js.DeleteStream(t.Context(), "PASSCODE_DEAD"))
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{
		Name: "PASSCODE_DEAD", Subjects: []string{"passcode.dead.>"}, Retention: jetstream.WorkQueuePolicy, MaxMsgsPerSubject: 1,
		MaxAge: 72 * time.Hour, Duplicates: time.Hour, AllowDirect: true, MaxBytes: 1 << 20,
	})
	require.NoError(t, err)
	p := plan().on(srv)
	results := found(t, p)
	assert.Equal(t, []string{
		"warn bucket passcode-limits: missing: expected before the first start",
		`fail stream PASSCODE_DEAD: retention is WorkQueue, the settings want Limits: what is read there must stay`,
		"warn stream PASSCODE_DEAD: max_bytes is 1048576, the settings want -1",
		"warn consumer passcode-worker: missing: expected before the first start",
	}, brief(results, ofBroker...))

	// Without the stream the consumer can't be there.
	require.NoError(t, js.DeleteStream(t.Context(), "PASSCODE"))
	assert.Equal(t, []string{
		"warn stream PASSCODE: missing: expected before the first start", "warn consumer passcode-worker: not checked: see stream PASSCODE",
	}, brief(found(t, p), ofBroker...)[3:])

	// Where a worker does not create what is missing, it can't start.
	p.Config.NATS.Provision = false
	assert.Equal(t, []string{
		"fail bucket passcode-limits: missing", "fail stream PASSCODE: missing", "warn consumer passcode-worker: not checked: see stream PASSCODE",
	}, slices.DeleteFunc(brief(found(t, p), ofBroker...), func(line string) bool { return strings.Contains(line, "PASSCODE_DEAD") }))
}

// On an empty broker nothing fails that the first start puts right.
func TestEmptyBroker(t *testing.T) {
	t.Parallel()
	p := plan().on(brokertest.Server(t))
	const missing = ": missing: expected before the first start"
	results := found(t, p)
	assert.Equal(t, []string{
		"warn bucket passcode-requests" + missing, "warn bucket passcode-limits" + missing, "warn stream PASSCODE_DEAD" + missing,
		"warn stream PASSCODE" + missing, "warn consumer passcode-worker: not checked: see stream PASSCODE",
	}, brief(results, ofBroker...))
	assert.Contains(t, results, Result{Warn, checkStream, "PASSCODE", "missing: expected before the first start", "worker run creates it"})
}
