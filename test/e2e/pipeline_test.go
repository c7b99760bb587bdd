package e2e

import (
	"fmt"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/brokertest"
	"github.com/passcode-worker/passcode-worker/test/containers"
)

// brief are settings with times that a test can wait for.
var brief = []string{
	"aliyun.timeout", "1s", "aliyun.connect_timeout", "500ms", "aliyun.in_doubt.lookups", `["1s","2s","3s"]`,
	"worker.ack_wait", "4s", "retry.initial_interval", "200ms",
}

// TestOneJob on a broker in this process and on one in a container.
func TestOneJob(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, s *system) {
		t.Helper()
		s.worker()
		s.publish(`{"request_id":"a1","phone":"+8613800000001","code":"` + code + `","metadata":{"tenant":"t1"},"unknown":{"x":[1]}}`)
		r := s.results.final("a1", bound)
		assert.Equal(t, []passcode.Status{passcode.StatusSending, passcode.StatusSent}, s.results.statuses("a1"))
		assert.NotEmpty(t, r.BizID)
		assert.NotEmpty(t, r.ProviderRequestID)
		assert.Equal(t, "+86138****0001", r.Phone)
		assert.Equal(t, map[string]string{"tenant": "t1"}, r.Metadata)
		assert.Equal(t, 1, r.Attempts)
		assert.Equal(t, r, s.record("a1"), "what is announced is what is recorded")
		sent := s.emulator.Sent()
		require.Len(t, sent, 1)
		assert.Equal(t, "a1", sent[0].OutID)
		assert.Equal(t, code, sent[0].Code)
		assert.Equal(t, r.BizID, sent[0].BizID)
		s.untilDone(bound)
	}
	t.Run("broker in this process", func(t *testing.T) {
		t.Parallel()
		check(t, start(t))
	})
	t.Run("broker in a container", func(t *testing.T) {
		t.Parallel()
		containers.Require(t)
		broker := containers.StartNATS(t)
		check(t, startOn(t, broker.URL(), broker.Connect()))
	})
}

// TestRepeatedJob: one job published 100 times to three workers is sent once.
func TestRepeatedJob(t *testing.T) {
	t.Parallel()
	s := start(t, "--latency", "50ms")
	for range 3 {
		s.worker()
	}
	for range 100 {
		s.publish(job("r1", phoneOf(1)))
	}
	s.untilDone(bound)
	assert.Equal(t, map[string]int{"r1": 1}, s.sentTo())
	assert.Equal(t, passcode.StatusSent, s.record("r1").Status)
}

// TestPhoneLimit: three workers together send exactly as many as the limit says.
func TestPhoneLimit(t *testing.T) {
	t.Parallel()
	s := start(t)
	for range 3 {
		s.worker("limits.phone", `["3/1h"]`)
	}
	for i := range 200 {
		_, err := s.js.PublishAsync("passcode.send", []byte(job(fmt.Sprintf("r%d", i), phoneOf(1))))
		require.NoError(t, err)
	}
	count := s.results.finals(200, bound)
	assert.Equal(t, map[passcode.Status]int{passcode.StatusSent: 3, passcode.StatusRateLimited: 197}, count)
	assert.Len(t, s.emulator.Sent(), 3)
	for i := range 200 {
		r := s.results.final(fmt.Sprintf("r%d", i), bound)
		if r.Status == passcode.StatusRateLimited {
			assert.GreaterOrEqual(t, r.RetryAfterSeconds, int64(3500))
			assert.LessOrEqual(t, r.RetryAfterSeconds, int64(3600))
			assert.Equal(t, "phone_limit", r.Error.Code)
		}
	}
}

// TestThrottled: three refusals, then sent; each gap is longer than the last.
func TestThrottled(t *testing.T) {
	t.Parallel()
	s := start(t, "--fault", "code=Throttling.User,count=3")
	s.worker()
	s.publish(job("r1", phoneOf(1)))
	r := s.results.final("r1", bound)
	assert.Equal(t, passcode.StatusSent, r.Status)
	assert.Equal(t, 4, r.Attempts)
	var began []time.Time
	for _, state := range s.results.of("r1") {
		if state.Status == passcode.StatusSending {
			began = append(began, state.UpdatedAt)
		}
	}
	require.Len(t, began, 4)
	assert.Less(t, began[1].Sub(began[0]), began[2].Sub(began[1]))
	assert.Less(t, began[2].Sub(began[1]), began[3].Sub(began[2]))
}

// TestDeadLetter has every header, and the job's very bytes.
func TestDeadLetter(t *testing.T) {
	t.Parallel()
	s := start(t, "--fault", "code=isv.SMS_TEMPLATE_ILLEGAL")
	s.worker()
	body := "{ \"request_id\":\"r1\",\n\t\"phone\":\"" + phoneOf(1) + "\", \"code\":\"" + code + "\", \"extra\":1.50 }"
	msg := nats.NewMsg("passcode.send")
	msg.Data = []byte(body)
	msg.Header.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	ack, err := s.js.PublishMsg(s.ctx(), msg)
	require.NoError(t, err)
	r := s.results.final("r1", bound)
	assert.Equal(t, passcode.StatusDeadLettered, r.Status)
	assert.Equal(t, passcode.ClassConfig, r.Error.Class)

	letter := s.letter("passcode.dead.config.r1")
	assert.Equal(t, body, string(letter.Data))
	h := letter.Header
	seq := fmt.Sprint(ack.Sequence)
	for name, want := range map[string]string{
		"Passcode-Reason": "config", "Passcode-Error-Code": "isv.SMS_TEMPLATE_ILLEGAL", "Passcode-Request-Id": "r1",
		"Passcode-Attempts": "1", "Passcode-Origin-Stream": "PASSCODE", "Passcode-Origin-Seq": seq,
		"Passcode-Origin-Subject": "passcode.send", "Passcode-Worker": r.Worker, "Passcode-Replays": "0",
		"traceparent": msg.Header.Get("traceparent"), "Nats-Msg-Id": "PASSCODE-" + seq + "-0",
	} {
		assert.Equal(t, want, h.Get(name), name)
	}
	assert.NotEmpty(t, h.Get("Passcode-Error-Message"))
	for _, name := range []string{"Passcode-Queued-At", "Passcode-Dead-At"} {
		at, err := time.Parse(time.RFC3339Nano, h.Get(name))
		require.NoError(t, err, name)
		assert.WithinDuration(t, time.Now(), at, time.Minute)
	}
	s.untilDone(bound)
}

// TestAcceptedAndDropped: in doubt, settled by look-up, never sent again.
func TestAcceptedAndDropped(t *testing.T) {
	t.Parallel()
	s := start(t, "--fault", "accept_drop,count=1")
	s.worker()
	s.publish(job("r1", phoneOf(1)))
	r := s.results.final("r1", bound)
	assert.Equal(t, []passcode.Status{
		passcode.StatusSending, passcode.StatusInDoubt, passcode.StatusInDoubt, passcode.StatusSent,
	}, s.results.statuses("r1"))
	assert.NotZero(t, s.results.of("r1")[2].LookupBeganAt, "the look-up is noted before it is made")
	assert.True(t, r.Recovered)
	assert.Equal(t, map[string]int{"r1": 1}, s.sentTo())
}

// TestAccountClosed: nothing is dead-lettered, everybody stops, and everything
// is sent when the account works again.
func TestAccountClosed(t *testing.T) {
	t.Parallel()
	s := start(t, "--fault", "code=isv.AMOUNT_NOT_ENOUGH")
	_, first := s.http()
	s.worker()
	s.publishAsync("r", 20, 0)
	consumer, err := s.js.Consumer(s.ctx(), "PASSCODE", "passcode-worker")
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		info, err := consumer.Info(s.ctx())
		return err == nil && info.Paused
	}, bound, 20*time.Millisecond, "the consumer is paused on the server")
	first.becomes(http.StatusServiceUnavailable, "isv.AMOUNT_NOT_ENOUGH")

	s.emulator.SetFaults("")
	count := s.results.finals(20, 2*bound)
	assert.Equal(t, map[passcode.Status]int{passcode.StatusSent: 20}, count)
	for id, n := range s.sentTo() {
		assert.Equal(t, 1, n, id)
		assert.Equal(t, 1, s.record(id).Attempts, "the account's refusals were no attempts")
	}
	assert.Zero(t, s.stored("PASSCODE_DEAD"))
	first.becomes(http.StatusOK, "")
}

// TestKilled: a worker is killed with 100 jobs in flight; another finishes them
// all, and none is sent twice.
func TestKilled(t *testing.T) {
	t.Parallel()
	s := start(t, "--latency", "200ms")
	w := s.worker(brief...)
	s.publishAsync("r", 100, 0)
	s.results.begun(81)
	w.Kill()
	s.worker(brief...)
	count := s.results.finals(100, 2*bound)
	assert.Equal(t, map[passcode.Status]int{passcode.StatusSent: 100}, count)
	s.eachOnce("r", 100)
	s.untilDone(bound)
}

// TestFrozen: a worker is stopped (SIGSTOP) with jobs in every state, for longer
// than its lease and all look-ups. Another finishes them; when the first wakes
// it sends nothing again.
func TestFrozen(t *testing.T) {
	t.Parallel()
	s := start(t, "--latency", "100ms")
	frozen := s.worker(brief...)
	const n = 300
	s.publishAsync("r", n, 0)
	s.results.begun(n / 3)
	frozen.Signal(syscall.SIGSTOP)
	s.worker(brief...)
	count := s.results.finals(n, 2*bound)
	assert.Equal(t, map[passcode.Status]int{passcode.StatusSent: n}, count)
	s.untilDone(bound)

	frozen.Signal(syscall.SIGCONT)
	frozen.Signal(syscall.SIGTERM)
	assert.Equal(t, 0, frozen.Wait(bound), "it finishes what it had, and leaves in order")
	s.eachOnce("r", n)
}

// TestTerminated: a worker that is asked to stop finishes what it has, hands
// back the rest at once, and leaves with status 0.
func TestTerminated(t *testing.T) {
	t.Parallel()
	s := start(t, "--latency", "500ms")
	w := s.worker("worker.concurrency", "100")
	const n = 300
	s.publishAsync("r", n, 0)
	s.results.begun(100)
	asked := time.Now()
	w.Signal(syscall.SIGTERM)
	assert.Equal(t, 0, w.Wait(bound))
	s.worker()
	count := s.results.finals(n, bound)
	// The lease is 30 s by default: nobody waited for one to run out.
	assert.Less(t, time.Since(asked), 25*time.Second)
	assert.Equal(t, map[passcode.Status]int{passcode.StatusSent: n}, count)
	for id, times := range s.sentTo() {
		assert.Equal(t, 1, times, id)
		assert.Equal(t, []passcode.Status{passcode.StatusSending, passcode.StatusSent}, s.results.statuses(id))
	}
}

// TestBrokerAway: a worker starts before its broker, and outlives its restarts.
func TestBrokerAway(t *testing.T) {
	t.Parallel()
	server := brokertest.Server(t)
	nc, _ := server.Connect(nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	s := startOn(t, server.URL(), nc)
	server.Stop()
	w := s.workerNotReady(brief...)
	w.WaitFor("waiting for the broker", bound)
	server.Restart()
	w.WaitFor(`"msg":"ready"`, bound)
	for i := range 30 {
		if i%10 == 5 {
			server.Stop()
			server.Restart()
		}
		s.enqueue(fmt.Sprintf("r%d", i), phoneOf(i))
	}
	s.untilDone(2 * bound)
	s.eachOnce("r", 30)
}
