package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/test/brokertest"
	"github.com/passcode-worker/passcode-worker/test/containers"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

// TestStorageLost: the broker comes back with an empty store, after longer than a
// lease, while jobs were in progress. The worker makes everything again, says what
// was lost, and goes on; what it had in hand is not sent again.
func TestStorageLost(t *testing.T) {
	t.Parallel()
	s := trouble(t, nil, "--latency", "500ms")
	var ids []string
	for i := range 20 {
		ids = append(ids, fmt.Sprintf("hand%d", i))
		s.enqueue(ids[i], phoneOf(100+i))
	}
	s.results.begun(len(ids))
	s.broker.LoseStore()
	s.named("broker: not connected")
	<-time.After(5 * time.Second) // longer than worker.ack_wait
	s.broker.Restart()
	s.w.WaitFor("somebody deleted it, and what was in it is lost; recreated", bound)
	s.wentOn("after", s.goodAndBad("after", 20, 10))
	s.noneTwice()
	s.allSent(ids...) // what the worker knew is written down
	s.quiet()
}

// TestBrokerAwayForLongerThanALease: the same with the store kept, where every job
// that was acknowledged comes to its end.
func TestBrokerAwayForLongerThanALease(t *testing.T) {
	t.Parallel()
	s := trouble(t, nil, "--latency", "500ms")
	ids := s.goodAndBad("r", 20, 10)
	s.broker.Stop()
	s.named("broker: not connected")
	<-time.After(6 * time.Second) // longer than worker.ack_wait
	s.broker.Restart()
	s.wentOn("r", ids)
	s.quiet()
}

var versionInInfo = regexp.MustCompile(`(?m)^(INFO .*"version":")[^"]*"`)

// passingFor leads to a broker that passes, for those who connect, for one of that
// version, and for itself without any.
func passingFor(t *testing.T, url string, version *atomic.Pointer[string]) string {
	t.Helper()
	link := harness.RewriteLink(t, strings.TrimPrefix(url, "nats://"), func(said []byte) []byte {
		if v := version.Load(); v != nil {
			return versionInInfo.ReplaceAll(said, []byte("${1}"+*v+`"`))
		}
		return said
	})
	return "nats://" + link.Addr()
}

// older leads to a broker that passes for one of version 2.10.
func older(t *testing.T, url string) string {
	t.Helper()
	var version atomic.Pointer[string]
	version.Store(new("2.10.29"))
	return passingFor(t, url, &version)
}

// TestOlderServer: the worker moves to a server that is older than it needs, and
// back.
func TestOlderServer(t *testing.T) {
	t.Parallel()
	s := troubledBroker(t)
	var version atomic.Pointer[string]
	s.run("nats.url", passingFor(t, s.broker.URL(), &version))
	s.wentOn("before", s.goodAndBad("before", 1, 0))
	version.Store(new("2.10.29"))
	s.broker.Restart()
	s.named("broker: NATS server is version 2.10.29, at least 2.11 is needed: upgrade the server")
	s.w.WaitFor("the broker keeps jobs waiting", bound)
	version.Store(nil)
	s.broker.Restart()
	s.wentOn("after", s.goodAndBad("after", 20, 10))
	s.w.WaitFor("the broker works again", bound)
	s.quiet()
}

// TestSlowConsumer: a worker that reads nothing for a while, with much in progress to
// it, is dropped by the server. It connects again; nothing is lost, or sent twice.
func TestSlowConsumer(t *testing.T) {
	t.Parallel()
	broker := brokertest.Server(t, func(o *server.Options) {
		o.WriteDeadline, o.MaxPending = 200*time.Millisecond, 8<<20
	})
	s := troubledOn(t, broker, nil)
	s.run()
	s.w.Signal(syscall.SIGSTOP)
	const n, size = 40, 900 << 10
	for i := range n {
		_, err := s.js.Publish(s.ctx(), "passcode.send", []byte(strings.Repeat("x", size)))
		require.NoError(t, err, i)
	}
	ids := s.goodAndBad("r", 20, 10)
	// Advisories come without being asked for, and more than the client keeps.
	nc, _ := broker.Connect()
	flood := []byte("{" + strings.Repeat(" ", 200))
	for range 200_000 {
		require.NoError(t, nc.Publish("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.PASSCODE.passcode-worker", flood))
	}
	require.NoError(t, nc.Flush())
	require.Eventually(t, func() bool { return broker.Running().NumSlowConsumers() > 0 }, bound, 20*time.Millisecond)
	s.w.Signal(syscall.SIGCONT)
	s.w.WaitFor("disconnected from NATS; reconnecting", bound)
	s.wentOn("r", ids)
	assert.EqualValues(t, n+1, s.stored("PASSCODE_DEAD"), "each of the large ones, and the bad one")
	s.quiet()
}

// TestBrokerKilled: the broker's container is killed twice with jobs in every
// state on the way, and frozen once; two workers go on when it is back. Every
// job that the stream acknowledged is sent, none twice.
func TestBrokerKilled(t *testing.T) {
	t.Parallel()
	containers.Require(t)
	broker := containers.StartNATS(t)
	s := startOn(t, broker.URL(), broker.Connect(), "--latency", "100ms", "--fault", "throttle,share=0.05", "--fault", "accept_drop,share=0.05")
	for range 2 {
		s.worker(brief...)
	}
	const n = 400
	trouble := map[int]func(){
		100: func() { broker.Kill(); broker.Restart() },
		200: func() { broker.Pause(); <-time.After(300 * time.Millisecond); broker.Unpause() },
		300: func() { broker.Kill(); broker.Restart() },
	}
	for i := range n {
		if f, ok := trouble[i]; ok {
			f()
		}
		s.enqueue(fmt.Sprintf("r%d", i), phoneOf(i))
	}
	s.untilDone(2 * bound)
	s.eachOnce("r", n)
}
