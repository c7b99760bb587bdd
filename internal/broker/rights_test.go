package broker_test

import (
	"encoding/json"
	"fmt"
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
	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/brokertest"
)

// listed is rights as one reads them.
func listed(rights []broker.Right) []string {
	lines := make([]string, len(rights))
	for i, r := range rights {
		lines[i] = string(r.Direction) + " " + r.Subject
	}
	return lines
}

func TestWorkerRights(t *testing.T) {
	t.Parallel()
	assert.Equal(t, []string{
		"publish $JS.API.CONSUMER.INFO.PASSCODE.passcode-worker",
		"publish $JS.API.CONSUMER.MSG.NEXT.PASSCODE.passcode-worker",
		"publish $JS.ACK.PASSCODE.passcode-worker.>",
		"publish $JS.ACK.*.*.PASSCODE.passcode-worker.>",
		"publish $JS.API.CONSUMER.PAUSE.PASSCODE.passcode-worker",
		"publish $JS.API.DIRECT.GET.PASSCODE",
		"publish $JS.API.STREAM.MSG.DELETE.PASSCODE",
		"publish $KV.passcode-requests.*",
		"publish $JS.API.STREAM.MSG.GET.KV_passcode-requests",
		"publish $KV.passcode-limits.*",
		"publish $JS.API.STREAM.MSG.GET.KV_passcode-limits",
		"publish $JS.API.CONSUMER.CREATE.KV_passcode-limits.*.$KV.passcode-limits.account",
		"publish $JS.API.CONSUMER.DELETE.KV_passcode-limits.*",
		"publish $JS.FC.KV_passcode-limits.>",
		"publish $JS.FC.*.*.KV_passcode-limits.>",
		"publish passcode.dead.*.*",
		"publish passcode.result.>",
		"publish _INBOX.>",
		"publish $JS.API.STREAM.INFO.PASSCODE",
		"publish $JS.API.STREAM.INFO.PASSCODE_DEAD",
		"publish $JS.API.STREAM.INFO.KV_passcode-requests",
		"publish $JS.API.STREAM.INFO.KV_passcode-limits",
		"publish $SYS.REQ.USER.INFO",
		"subscribe _INBOX_passcode-worker.>",
		"subscribe $JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.PASSCODE.passcode-worker",
		"subscribe $JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.PASSCODE.passcode-worker",
	}, listed(broker.WorkerRights(config.Default())))
}

func TestProvisionRights(t *testing.T) {
	t.Parallel()
	assert.Equal(t, []string{
		"publish $JS.API.STREAM.INFO.KV_passcode-requests",
		"publish $JS.API.STREAM.CREATE.KV_passcode-requests",
		"publish $JS.API.STREAM.INFO.KV_passcode-limits",
		"publish $JS.API.STREAM.CREATE.KV_passcode-limits",
		"publish $JS.API.STREAM.INFO.PASSCODE_DEAD",
		"publish $JS.API.STREAM.CREATE.PASSCODE_DEAD",
		"publish $JS.API.STREAM.INFO.PASSCODE",
		"publish $JS.API.STREAM.CREATE.PASSCODE",
		"publish $JS.API.CONSUMER.INFO.PASSCODE.passcode-worker",
		"publish $JS.API.CONSUMER.CREATE.PASSCODE.passcode-worker.passcode.send",
	}, listed(broker.ProvisionRights(config.Default())))
}

// Whatever the names, each is where the settings say, no default name is left,
// and nothing is listed that something else covers.
func TestRightsFollowTheSettings(t *testing.T) {
	t.Parallel()
	other := config.Default()
	other.Jobs.Stream, other.Jobs.Subject, other.Jobs.Consumer = "J", "js.in", "jc"
	other.Results.Bucket, other.Results.Subject = "rb", "rs.out"
	other.DeadLetters.Stream, other.DeadLetters.Subject, other.Limits.Bucket = "D", "ds.x", "lb"
	for name, replies := range map[string][]string{
		"none":      nil,
		"its own":   {"rs.out.*", "rs.out.*", "rs.out.*"},
		"wider":     {"rs.>", "rs.out.>", "rs.out.one"},
		"elsewhere": {"answers.>", "rs.other.>"},
	} {
		other.Results.ReplySubjects = replies
		worker := broker.WorkerRights(other)
		for _, rights := range [][]broker.Right{worker, broker.ProvisionRights(other)} {
			text := strings.Join(listed(rights), "\n")
			for _, left := range []string{"PASSCODE", "passcode.", "passcode-requests", "passcode-limits", "worker."} {
				assert.NotContains(t, strings.ReplaceAll(text, broker.WorkerInbox, ""), left, name)
			}
			for i, r := range rights {
				assert.True(t, server.IsValidSubject(r.Subject), r.Subject)
				assert.NotEmpty(t, r.Why, r.Subject)
				for j, o := range rights {
					assert.False(t, i != j && r.Direction == o.Direction && server.SubjectMatchesFilter(r.Subject, o.Subject),
						"%s: %s is covered by %s", name, r.Subject, o.Subject)
				}
			}
		}
		for _, subject := range append(replies, "rs.out.*") {
			covered := false
			for _, r := range worker {
				covered = covered || r.Direction == broker.Publish && server.SubjectMatchesFilter(subject, r.Subject)
			}
			assert.True(t, covered, "%s: %s", name, subject)
		}
	}
}

// two runs a server that knows a user without restrictions, "all", and one with
// the permissions, "worker".
func two(t *testing.T, p *server.Permissions) *brokertest.Handle {
	t.Helper()
	return brokertest.Server(t, func(o *server.Options) {
		o.Users = []*server.User{
			{Username: "all", Password: "all"},
			{Username: "worker", Password: "worker", Permissions: p},
		}
	})
}

func asUser(name string) []nats.Option {
	return []nats.Option{nats.UserInfo(name, name), nats.CustomInboxPrefix(broker.WorkerInbox), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {})}
}

// subjects are those of rights in one direction.
func subjects(rights []broker.Right, d broker.Direction) []string {
	var list []string
	for _, r := range rights {
		if r.Direction == d {
			list = append(list, r.Subject)
		}
	}
	return list
}

// without takes one subject out of a list.
func without(list []string, subject string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == subject })
}

// Each row is a user, and what it may not; asking the server and trying out must
// agree on it. A user who may not ask is tried out.
func TestMissingPermissions(t *testing.T) {
	t.Parallel()
	rights := broker.WorkerRights(config.Default())
	may, hear := subjects(rights, broker.Publish), subjects(rights, broker.Subscribe)
	const ask, inbox = "$SYS.REQ.USER.INFO", broker.WorkerInbox + ".>"
	allow := func(list ...string) *server.SubjectPermission { return &server.SubjectPermission{Allow: list} }
	deny := func(list ...string) *server.SubjectPermission { return &server.SubjectPermission{Deny: list} }
	const results, pause = "passcode.result.>", "$JS.API.CONSUMER.PAUSE.PASSCODE.passcode-worker"
	for _, test := range []struct {
		name               string
		publish, subscribe *server.SubjectPermission
		want               []string
	}{
		{"no restriction", nil, nil, nil},
		{"exactly what is needed", allow(may...), allow(hear...), nil},
		{"no list for one direction", allow(may...), nil, nil},
		{"more than is needed", allow("$JS.>", "$KV.>", "$SYS.>", "_INBOX.>", "passcode.*", "passcode.*.>"), nil, nil},
		{"results left out", allow(without(may, results)...), nil, []string{"publish " + results}},
		{"results denied", deny(results), nil, []string{"publish " + results}},
		{
			"a bucket denied", &server.SubjectPermission{Allow: may, Deny: []string{"$KV.passcode-requests.>"}}, nil,
			[]string{"publish $KV.passcode-requests.*"},
		},
		{"an inbox left out", nil, allow(without(hear, inbox)...), []string{"subscribe " + inbox}},
		{
			"an inbox for a queue group alone", nil, allow(append(without(hear, inbox), inbox+" workers")...),
			[]string{"subscribe " + inbox},
		},
		{"a queue group denied", nil, deny(inbox + " workers"), nil},
		{"a request left out", allow(without(may, pause)...), nil, []string{"publish " + pause}},
		{"may not ask", allow(without(may, ask)...), nil, []string{"publish " + ask}},
		{
			"may not ask, nor announce results", deny(ask, results, "passcode.dead.>"), nil,
			[]string{"publish passcode.dead.*.*", "publish " + results, "publish " + ask},
		},
		{"nothing at all", deny(">"), deny(">"), listed(rights)},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var user *server.Permissions
			if test.publish != nil || test.subscribe != nil {
				user = &server.Permissions{Publish: test.publish, Subscribe: test.subscribe}
			}
			nc, _ := two(t, user).Connect(asUser("worker")...)
			missing, err := broker.MissingPermissions(within(t, patience), nc, rights, "worker-check-1")
			require.NoError(t, err)
			assert.ElementsMatch(t, test.want, listed(missing))
		})
	}
}

// A denial inside a subject that is needed as a whole is one too, though no
// single trial would meet it.
func TestMissingPermissionsSeesADenialInside(t *testing.T) {
	t.Parallel()
	nc, _ := two(t, &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"passcode.result.vip"}}}).
		Connect(asUser("worker")...)
	need := []broker.Right{{Direction: broker.Publish, Subject: "passcode.result.>"}}
	missing, err := broker.MissingPermissions(within(t, patience), nc, need, "worker-check-1")
	require.NoError(t, err)
	assert.Equal(t, need, missing)
}

// TestTryingChangesNothing: a user who may do everything but ask.
func TestTryingChangesNothing(t *testing.T) {
	t.Parallel()
	srv := two(t, &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"$SYS.>"}}})
	all, js := srv.Connect(asUser("all")...)
	provision(t, js, config.Default(), true)
	_, err := js.Publish(t.Context(), "passcode.send", []byte("job"))
	require.NoError(t, err)
	consumer, err := js.Consumer(t.Context(), "PASSCODE", "passcode-worker")
	require.NoError(t, err)
	_, err = js.PauseConsumer(t.Context(), "PASSCODE", "passcode-worker", time.Now().Add(time.Hour))
	require.NoError(t, err)
	results, err := all.SubscribeSync("passcode.result.>")
	require.NoError(t, err)
	before := contents(t, js)

	nc, _ := srv.Connect(asUser("worker")...)
	rights := broker.WorkerRights(config.Default())
	missing, err := broker.MissingPermissions(within(t, patience), nc, rights, "worker-check-1")
	require.NoError(t, err)
	assert.Equal(t, []string{"publish $SYS.REQ.USER.INFO"}, listed(missing))
	assert.True(t, missing[0].Dispensable())

	assert.Equal(t, before, contents(t, js))
	info, err := consumer.Info(t.Context())
	require.NoError(t, err)
	assert.True(t, info.Paused)
	assert.Zero(t, info.NumWaiting, "nothing was pulled")
	assert.EqualValues(t, 1, info.NumPending)

	// Who listens to results sees one that says what it is.
	msg, err := results.NextMsg(patience)
	require.NoError(t, err)
	var result passcode.Result
	require.NoError(t, json.Unmarshal(msg.Data, &result))
	assert.Equal(t, "passcode.result.worker-check-1", msg.Subject)
	assert.Equal(t, "worker-check-1", result.RequestID)
	assert.True(t, result.Final)
	assert.Contains(t, result.Error.Message, "no such request")
}

// contents is what is in every stream.
func contents(t *testing.T, js jetstream.JetStream) []string {
	t.Helper()
	var list []string
	streams := js.ListStreams(t.Context())
	for s := range streams.Info() {
		list = append(list, fmt.Sprintf("%s %d messages, last %d, %d consumers", s.Config.Name, s.State.Msgs, s.State.LastSeq, s.State.Consumers))
	}
	require.NoError(t, streams.Err())
	assert.Len(t, list, 4)
	return list
}

func TestMissingPermissionsOnAConnectionThatIsGone(t *testing.T) {
	t.Parallel()
	nc, _ := two(t, nil).Connect(asUser("all")...)
	nc.Close()
	_, err := broker.MissingPermissions(within(t, patience), nc, broker.ProvisionRights(config.Default()), "worker-check-1")
	require.Error(t, err)
}
