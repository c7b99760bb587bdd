package broker_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/internal/config"
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

// Each row is a user, and what it may not. Of a user who may not ask, or not hear the
// answer, that is all there is to know.
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
		{"may not ask, nor announce results", deny(ask, results, "passcode.dead.>"), nil, []string{"publish " + ask}},
		{"may not hear the answer", nil, deny(inbox), []string{"subscribe " + inbox}},
		{"nothing at all", deny(">"), deny(">"), []string{"publish " + ask}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var user *server.Permissions
			if test.publish != nil || test.subscribe != nil {
				user = &server.Permissions{Publish: test.publish, Subscribe: test.subscribe}
			}
			nc, _ := two(t, user).Connect(asUser("worker")...)
			missing, err := broker.MissingPermissions(within(t, patience), nc, rights)
			require.NoError(t, err)
			assert.ElementsMatch(t, test.want, listed(missing))
		})
	}
}

// A denial inside a subject that is needed as a whole is one too.
func TestMissingPermissionsSeesADenialInside(t *testing.T) {
	t.Parallel()
	nc, _ := two(t, &server.Permissions{Publish: &server.SubjectPermission{Deny: []string{"passcode.result.vip"}}}).
		Connect(asUser("worker")...)
	need := []broker.Right{{Direction: broker.Publish, Subject: "passcode.result.>"}}
	missing, err := broker.MissingPermissions(within(t, patience), nc, need)
	require.NoError(t, err)
	assert.Equal(t, need, missing)
}

func TestMissingPermissionsOnAConnectionThatIsGone(t *testing.T) {
	t.Parallel()
	nc, _ := two(t, nil).Connect(asUser("all")...)
	nc.Close()
	_, err := broker.MissingPermissions(within(t, patience), nc, broker.ProvisionRights(config.Default()))
	require.Error(t, err)
}
