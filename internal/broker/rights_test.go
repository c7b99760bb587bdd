package broker_test

import (
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/assert"

	"github.com/passcode-worker/passcode-worker/internal/broker"
)

// listed is rights as one reads them.
func listed(rights []broker.Right) []string {
	lines := make([]string, len(rights))
	for i, r := range rights {
		lines[i] = r.Direction.String() + " " + r.Subject
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
	}, listed(broker.WorkerRights(topology(), []string{"passcode.result.>", "_INBOX.>"})))
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
	}, listed(broker.ProvisionRights(topology())))
}

// Whatever the names, each is where the settings say, no default name is left,
// and nothing is listed that something else covers.
func TestRightsFollowTheSettings(t *testing.T) {
	t.Parallel()
	other := topology()
	other.JobsStream, other.JobsSubject, other.JobsConsumer = "J", "js.in", "jc"
	other.ResultsBucket, other.ResultsSubject = "rb", "rs.out"
	other.DeadStream, other.DeadSubject, other.LimitsBucket = "D", "ds.x", "lb"
	for name, replies := range map[string][]string{
		"none":      nil,
		"its own":   {"rs.out.*", "rs.out.*", "rs.out.*"},
		"wider":     {"rs.>", "rs.out.>", "rs.out.one"},
		"elsewhere": {"answers.>", "rs.other.>"},
	} {
		worker := broker.WorkerRights(other, replies)
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
