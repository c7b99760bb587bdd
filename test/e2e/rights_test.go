package e2e

import (
	"encoding/json"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/deployed"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

// denied is what a log says of a right that is missing.
const denied = "NATS denies"

// production is a system on a broker as deploy/nats sets it up. Its worker and
// its commands are kept to the rights of their users, and noted.
type production struct {
	*system
	broker           *deployed.Broker
	workers, command *deployed.Tap
	producer         *producer
}

// startProduction starts a system without workers; nothing is provisioned.
func startProduction(t *testing.T, change ...func(*server.Options)) *production {
	t.Helper()
	broker := deployed.Start(t, change...)
	workers := broker.Tap(t, deployed.Worker)
	return &production{
		system: startOn(t, workers.URL(), broker.LookOn()),
		broker: broker, workers: workers,
		command:  broker.Tap(t, deployed.Operator),
		producer: newProducer(t, broker),
	}
}

// run runs a command as the operator, and returns what it printed on standard
// output. It must succeed, and be denied nothing.
func (p *production) run(args ...string) string {
	p.t.Helper()
	return p.runAs(p.command.URL(), args...)
}

func (p *production) runAs(url string, args ...string) string {
	p.t.Helper()
	env := p.emulator.WorkerEnv(url)
	c := harness.StartWorker(p.t, p.bin, env, args...)
	c.Forbid(code, deployed.Password)
	require.Zero(p.t, c.Wait(bound), "worker %s", strings.Join(args, " "))
	require.NotContains(p.t, c.Output(), denied)
	return c.Stdout()
}

// producer is a service that publishes jobs, with the rights of one.
type producer struct {
	t  *testing.T
	nc *nats.Conn
	js jetstream.JetStream

	mu  sync.Mutex
	got []*nats.Msg // all that it may read
}

// newProducer connects with the inbox prefix that lets reply_to through.
func newProducer(t *testing.T, broker *deployed.Broker) *producer {
	t.Helper()
	p := &producer{t: t}
	p.nc = broker.ConnectAs(deployed.Producer, nats.CustomInboxPrefix("_INBOX.producer"))
	var err error
	p.js, err = jetstream.New(p.nc)
	require.NoError(t, err)
	for _, subject := range deployed.Rights(t, deployed.Producer).Subscribe.Allow {
		_, err := p.nc.Subscribe(subject, func(msg *nats.Msg) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.got = append(p.got, msg)
		})
		require.NoError(t, err)
	}
	require.NoError(t, p.nc.Flush())
	return p
}

func (p *producer) publish(id, body string) {
	p.t.Helper()
	_, err := p.js.Publish(p.t.Context(), "passcode.send", []byte(body), jetstream.WithMsgID(id))
	require.NoError(p.t, err)
}

// received returns what came so far.
func (p *producer) received() []*nats.Msg {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*nats.Msg(nil), p.got...)
}

// final waits for the final result of a request on a subject.
func (p *producer) final(id, subject string) passcode.Result {
	p.t.Helper()
	var result passcode.Result
	require.Eventually(p.t, func() bool {
		for _, msg := range p.received() {
			var r passcode.Result
			if msg.Subject == subject && json.Unmarshal(msg.Data, &r) == nil && r.RequestID == id && r.Final {
				result = r
				return true
			}
		}
		return false
	}, 2*bound, 20*time.Millisecond, "the final result of %s on %s", id, subject)
	return result
}

// TestLeastRights: with the users of deploy/nats every path of a job works, every
// command does, nothing is denied, and each right is made use of.
func TestLeastRights(t *testing.T) {
	t.Parallel()
	p := startProduction(t)
	p.run("provision")
	w := p.worker(brief...)

	reply := p.producer.nc.NewInbox()
	for i, path := range []struct {
		name, fault string
		change      string // of the job
		subject     string // of the result, besides the standard one
		want        passcode.Status
	}{
		{name: "sent", want: passcode.StatusSent},
		{name: "throttled", fault: "code=Throttling.User,count=1", want: passcode.StatusSent},
		{name: "doubtful", fault: "accept_drop,count=1", want: passcode.StatusSent},
		{name: "dead", fault: "code=isv.SMS_TEMPLATE_ILLEGAL,count=1", want: passcode.StatusDeadLettered},
		{name: "invalid", change: `,"reply_to":7`, want: passcode.StatusRejected},
		{name: "own-subject", change: `,"reply_to":"passcode.result.shop.1"`, subject: "passcode.result.shop.1", want: passcode.StatusSent},
		{name: "own-inbox", change: `,"reply_to":"` + reply + `"`, subject: reply, want: passcode.StatusSent},
		{name: "account", fault: "code=isv.AMOUNT_NOT_ENOUGH,count=1", want: passcode.StatusSent},
	} {
		p.emulator.SetFaults(path.fault)
		p.producer.publish(path.name, strings.TrimSuffix(job(path.name, phoneOf(i)), "}")+path.change+"}")
		for _, subject := range []string{"passcode.result." + path.name, path.subject} {
			if subject != "" {
				assert.Equal(t, path.want, p.producer.final(path.name, subject).Status, path.name)
			}
		}
	}
	// Again, under another message id: announced once more, not sent once more.
	p.producer.publish("again", job("sent", phoneOf(0)))
	require.Eventually(t, func() bool {
		for _, r := range p.results.of("sent") {
			if r.Duplicate {
				return true
			}
		}
		return false
	}, bound, 20*time.Millisecond)
	assert.Equal(t, 1, p.sentTo()["sent"])

	for _, command := range commands {
		p.run(strings.Fields(command)...)
	}
	p.runAs(p.workers.URL(), "check")
	p.runAs(p.broker.As(deployed.Producer), "send", "--phone", "+85268326367", "--code", code)

	// Last, since it leaves the consumer changed: a job that the server gives up on.
	p.emulator.SetFaults("code=Throttling.User")
	p.producer.publish("given-up", job("given-up", phoneOf(60)))
	p.results.reach(passcode.StatusRetrying, "given-up")
	p.limitDeliveries()
	assert.Equal(t, passcode.StatusDeadLettered, p.producer.final("given-up", "passcode.result.given-up").Status)
	p.untilDone(bound)

	w.Signal(syscall.SIGTERM)
	require.Zero(t, w.Wait(bound))
	assert.NotContains(t, w.Output(), denied)
	assert.ElementsMatch(t, workerUnused, p.workers.Unused())
	assert.ElementsMatch(t, operatorUnused, p.command.Unused())
}

// commands are those of an operator.
var commands = []string{
	"provision",
	"provision --dry-run --json",
	"request sent",
	"request --json sent",
	"request --json --history sent",
	"limits show " + phoneOf(0),
	"limits reset --yes " + phoneOf(0),
	"pause 10m --reason test",
	"resume",
	"dlq list --summary",
	"dlq list --json",
	"dlq show dead",
	"dlq export",
	"dlq replay --id dead --follow-results",
	"dlq discard --all --yes",
	"send --phone +85268326366 --code " + code,
}

// What TestLeastRights doesn't come to use, and why it is granted all the same.
var (
	workerUnused = []string{
		// TestLeastRightsWithLongAcknowledgements.
		"publish $JS.ACK.*.*.PASSCODE.passcode-worker.>", "publish $JS.FC.*.*.KV_passcode-limits.>",
		// The server asks for it only of a watch that has fallen behind.
		"publish $JS.FC.KV_passcode-limits.>",
	}
	operatorUnused = []string{
		// worker check is about the rights of the worker, as whom it is run; so an
		// operator who runs it as himself is told.
		"publish $SYS.REQ.USER.INFO",
	}
)

// TestLeastRightsWithLongAcknowledgements: servers from 2.14 on can put domain and
// account into the subjects of acknowledgements, and will do so by default.
func TestLeastRightsWithLongAcknowledgements(t *testing.T) {
	t.Parallel()
	p := startProduction(t, func(o *server.Options) { o.FeatureFlags = map[string]bool{"js_ack_fc_v2": true} })
	p.run("provision")
	w := p.worker()
	p.producer.publish("r1", job("r1", phoneOf(1)))
	assert.Equal(t, passcode.StatusSent, p.producer.final("r1", "passcode.result.r1").Status)
	p.untilDone(bound)
	assert.NotContains(t, w.Output(), denied)
	assert.NotContains(t, p.workers.Unused(), workerUnused[0])
}

// TestWorkerMayNotProvision: it says what it lacks, and goes on once an operator
// has provisioned.
func TestWorkerMayNotProvision(t *testing.T) {
	t.Parallel()
	p := startProduction(t)
	w := p.workerNotReady()
	line := w.WaitFor(denied, bound)
	assert.Contains(t, line, `"subject":"$JS.API.STREAM.CREATE.KV_passcode-requests"`)
	assert.Contains(t, line, `"fix":`)
	p.run("provision")
	w.WaitFor(`"msg":"ready"`, bound)
}
