package e2e

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/internal/broker"
	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/deployed"
	"github.com/passcode-worker/passcode-worker/test/fake"
)

// rights says who may do what, each user by his first letter: worker, operator,
// console, producer.
var rights = []struct{ what, who string }{
	// Jobs hold codes: they are published, and pulled by the worker, and that is all.
	{"publish passcode.send", "o p"},
	{"subscribe passcode.send", ""},
	{"subscribe passcode.*", ""},
	{"subscribe passcode.>", ""},
	{"subscribe >", ""},
	{"publish $JS.API.CONSUMER.MSG.NEXT.PASSCODE.passcode-worker", "w"},
	{"publish $JS.API.CONSUMER.MSG.NEXT.PASSCODE.other", ""},
	{"publish $JS.ACK.PASSCODE.passcode-worker.1.1.1.1784000000000000000.0", "w"},
	{"publish $JS.API.DIRECT.GET.PASSCODE", "w"},
	{"publish $JS.API.DIRECT.GET.PASSCODE.passcode.send", ""},
	{"publish $JS.API.STREAM.MSG.GET.PASSCODE", ""},
	{"publish $JS.API.STREAM.MSG.DELETE.PASSCODE", "w"},
	{"publish $JS.API.CONSUMER.INFO.PASSCODE.passcode-worker", "w o c"},
	{"publish $JS.API.CONSUMER.PAUSE.PASSCODE.passcode-worker", "w o"},
	{"publish $JS.API.CONSUMER.CREATE.PASSCODE.passcode-worker.passcode.send", "o"},
	{"publish $JS.API.CONSUMER.CREATE.PASSCODE", ""},
	{"publish $JS.API.CONSUMER.CREATE.PASSCODE.other.passcode.send", ""},
	{"publish $JS.API.CONSUMER.DURABLE.CREATE.PASSCODE.other", ""},
	{"publish $JS.API.CONSUMER.DELETE.PASSCODE.passcode-worker", ""},
	{"publish $JS.API.CONSUMER.RESET.PASSCODE.passcode-worker", ""},
	{"publish $JS.API.CONSUMER.UNPIN.PASSCODE.passcode-worker", ""},

	// Answers may hold codes too: each reads his own.
	{"subscribe _INBOX.>", "p"}, // none of ours come there, and the account is another
	{"subscribe _INBOX_passcode-worker.>", "w"},
	{"subscribe _INBOX_passcode-command.>", "o p"}, // likewise
	{"subscribe _INBOX_passcode-console.>", "c"},
	{"subscribe $JS.ACK.>", ""},
	{"subscribe _R_.>", ""},

	// Results and records.
	{"subscribe passcode.result.>", "o c p"},
	{"publish passcode.result.r1", "w"},
	{"publish _INBOX.other.1", "w"},
	{"publish $KV.passcode-requests.r1", "w"},
	{"subscribe $KV.passcode-requests.>", ""},
	{"publish $JS.API.DIRECT.GET.KV_passcode-requests", "o c"},
	{"publish $JS.API.DIRECT.GET.KV_passcode-requests.$KV.passcode-requests.r1", "c"},
	{"publish $JS.API.STREAM.MSG.GET.KV_passcode-requests", "w o"},
	{"publish $JS.API.CONSUMER.CREATE.KV_passcode-requests.x.$KV.passcode-requests.>", ""},

	// Dead letters hold codes.
	{"publish passcode.dead.config.r1", "w"},
	{"subscribe passcode.dead.>", ""},
	{"publish $JS.API.DIRECT.GET.PASSCODE_DEAD", "o"},
	{"publish $JS.API.DIRECT.GET.PASSCODE_DEAD.passcode.dead.config.r1", ""},
	{"publish $JS.API.STREAM.MSG.GET.PASSCODE_DEAD", ""},
	{"publish $JS.API.STREAM.MSG.DELETE.PASSCODE_DEAD", "o"},
	{"publish $JS.API.CONSUMER.CREATE.PASSCODE_DEAD.x.passcode.dead.>", ""},

	// Limits, and the key under which phones are kept.
	{"publish $KV.passcode-limits.account", "w o"},
	{"subscribe $KV.passcode-limits.>", ""},
	{"publish $JS.API.DIRECT.GET.KV_passcode-limits.$KV.passcode-limits.account", "c"},
	{"publish $JS.API.DIRECT.GET.KV_passcode-limits.$KV.passcode-limits.hmac-key", ""},
	{"publish $JS.API.STREAM.MSG.GET.KV_passcode-limits", "w o"},
	{"publish $JS.API.DIRECT.GET.KV_passcode-limits", ""},
	{"publish $JS.API.CONSUMER.CREATE.KV_passcode-limits.x.$KV.passcode-limits.account", "w"},
	{"publish $JS.API.CONSUMER.CREATE.KV_passcode-limits.x.$KV.passcode-limits.>", ""},

	// Streams: looked at by all but producers, made by operators, changed by none.
	{"publish $JS.API.STREAM.INFO.PASSCODE", "w o c"},
	{"publish $JS.API.STREAM.INFO.PASSCODE_DEAD", "w o c"},
	{"publish $JS.API.STREAM.INFO.KV_passcode-requests", "w o c"},
	{"publish $JS.API.STREAM.INFO.KV_passcode-limits", "w o"},
	{"publish $JS.API.STREAM.CREATE.PASSCODE", "o"},
	{"publish $JS.API.STREAM.CREATE.PASSCODE_DEAD", "o"},
	{"publish $JS.API.STREAM.CREATE.KV_passcode-requests", "o"},
	{"publish $JS.API.STREAM.CREATE.KV_passcode-limits", "o"},
	{"publish $JS.API.STREAM.CREATE.MIRROR", ""}, // of any of them, or with them as a source
	{"publish $JS.API.STREAM.UPDATE.PASSCODE", ""},
	{"publish $JS.API.STREAM.PURGE.PASSCODE", ""},
	{"publish $JS.API.STREAM.PURGE.PASSCODE_DEAD", ""},
	{"publish $JS.API.STREAM.DELETE.PASSCODE", ""},
	{"publish $JS.API.STREAM.DELETE.KV_passcode-requests", ""},
	{"publish $JS.API.STREAM.SNAPSHOT.PASSCODE", ""},
	{"publish $JS.API.STREAM.SNAPSHOT.PASSCODE_DEAD", ""},
	{"publish $JS.API.STREAM.RESTORE.PASSCODE", ""},
	{"publish $JS.API.STREAM.NAMES", ""},
	{"publish $JS.API.STREAM.LIST", ""},

	// The server.
	{"publish $SYS.REQ.USER.INFO", "w o c"},
	{"publish $SYS.REQ.SERVER.PING", ""},
	{"subscribe $SYS.>", ""},
	{"subscribe $JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.PASSCODE.passcode-worker", "w"},
	{"subscribe $JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.PASSCODE.passcode-worker", "w"},
	{"subscribe $JS.EVENT.ADVISORY.>", ""},
	{"publish anything.else", ""},
	{"subscribe anything.else", ""},
}

func TestWhoMayDoWhat(t *testing.T) {
	t.Parallel()
	b := deployed.Start(t)
	for _, user := range []string{deployed.Worker, deployed.Operator, deployed.Console, deployed.Producer} {
		denials := denialsOf(b, user)
		for _, right := range rights {
			may := strings.Contains(right.who, user[:1])
			assert.Equal(t, !may, denials.meets(t, right.what), "%s: %s", user, right.what)
		}
	}
}

// denials are those that a connection meets.
type denials struct {
	nc  *nats.Conn
	met fake.Buffer // a line for each
}

func denialsOf(b *deployed.Broker, user string) *denials {
	d := &denials{}
	d.nc = b.ConnectAs(user, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		fmt.Fprintln(&d.met, err)
	}))
	return d
}

// meets tries what a line of the table says, and reports whether it was denied.
func (d *denials) meets(t *testing.T, what string) bool {
	t.Helper()
	before := len(d.met.String())
	seen := func() string { return d.met.String()[before:] }
	d.try(t, what)
	// What everybody is denied. The server answers in order.
	const last = "the.last.one"
	d.try(t, "publish "+last)
	require.Eventually(t, func() bool { return strings.Contains(seen(), last) }, bound, time.Millisecond)
	_, subject, _ := strings.Cut(what, " ")
	return strings.Contains(seen(), `"`+subject+`"`)
}

func (d *denials) try(t *testing.T, what string) {
	t.Helper()
	direction, subject, _ := strings.Cut(what, " ")
	if direction == "publish" {
		require.NoError(t, d.nc.Publish(subject, nil))
	} else {
		_, err := d.nc.SubscribeSync(subject)
		require.NoError(t, err)
	}
	require.NoError(t, d.nc.Flush())
}

// TestProducerWritesNothingButJobs: the answer to a publish goes wherever the
// publisher says, and must not become a record, a dead letter or a request.
func TestProducerWritesNothingButJobs(t *testing.T) {
	t.Parallel()
	p := startProduction(t)
	p.run("provision")
	onlooker := p.broker.LookOn()
	replies := []string{
		"passcode.result.victim", "passcode.dead.config.victim", "$KV.passcode-requests.victim", "$KV.passcode-limits.account",
		"_INBOX.somebody.1", broker.WorkerInbox + ".somebody.1", broker.CommandInbox + ".somebody.1",
		"$JS.API.STREAM.PURGE.PASSCODE", "$JS.API.STREAM.DELETE.PASSCODE", "$JS.API.CONSUMER.MSG.NEXT.PASSCODE.passcode-worker",
	}
	arrived := make(chan *nats.Msg, 2*len(replies))
	for _, reply := range replies {
		_, err := onlooker.ChanSubscribe(reply, arrived)
		require.NoError(t, err)
	}
	require.NoError(t, onlooker.Flush())
	for _, reply := range replies {
		require.NoError(t, p.producer.nc.PublishRequest("passcode.send", reply, []byte("no job")))
	}
	p.producer.publish("last", job("last", phoneOf(1)))
	require.NoError(t, onlooker.Flush())

	assert.Empty(t, arrived)
	assert.EqualValues(t, len(replies)+1, p.stored("PASSCODE"))
	for _, name := range []string{"PASSCODE_DEAD", "KV_passcode-requests", "KV_passcode-limits"} {
		assert.Zero(t, p.stored(name), name)
	}
}

// TestProducerReadsNoCode: whatever it may subscribe to, while jobs are handled
// and dead letters are looked at.
func TestProducerReadsNoCode(t *testing.T) {
	t.Parallel()
	p := startProduction(t)
	p.run("provision")
	p.worker()
	p.emulator.SetFaults("code=isv.SMS_TEMPLATE_ILLEGAL,count=1")
	p.producer.publish("dead", job("dead", phoneOf(1)))
	require.Equal(t, passcode.StatusDeadLettered, p.producer.final("dead", "passcode.result.dead").Status)
	p.producer.publish("sent", job("sent", phoneOf(2)))
	require.Equal(t, passcode.StatusSent, p.producer.final("sent", "passcode.result.sent").Status)

	// An operator who forgot to set the inbox prefix gets no answer. Nobody else
	// must get it.
	careless := p.broker.ConnectAs(deployed.Operator)
	onlooker := p.broker.LookOn()
	answers, err := onlooker.SubscribeSync("_INBOX.careless.1")
	require.NoError(t, err)
	require.NoError(t, onlooker.Flush())
	require.NoError(t, careless.PublishRequest("$JS.API.DIRECT.GET.PASSCODE_DEAD", "_INBOX.careless.1", []byte(`{"seq":1}`)))
	answer, err := answers.NextMsg(bound)
	require.NoError(t, err)
	require.True(t, holdsCode(answer), "the answer that must not get out")
	for _, command := range commands {
		p.run(strings.Fields(command)...)
	}

	// What comes to the producer comes in order, so what was sent before is there.
	p.producer.publish("after", job("after", phoneOf(3)))
	p.producer.final("after", "passcode.result.after")
	for _, msg := range p.producer.received() {
		assert.False(t, holdsCode(msg), "a code on %s", msg.Subject)
		assert.NotEqual(t, "_INBOX.careless.1", msg.Subject)
	}
}

// holdsCode shows nothing of the message where a test fails.
func holdsCode(msg *nats.Msg) bool { return bytes.Contains(msg.Data, []byte(code)) }
