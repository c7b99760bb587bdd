package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

// killer stands between the workers and the emulator, and kills the worker that
// makes a call for one phone.
type killer struct {
	url   string
	phone string
	// deadly says whether a call with this action kills.
	deadly func(action string) bool

	mu     sync.Mutex
	worker *harness.Process
	kills  int
}

func startKiller(t *testing.T, emulator, phone string, deadly func(action string) bool) *killer {
	t.Helper()
	target, err := url.Parse(emulator)
	require.NoError(t, err)
	k := &killer{phone: strings.TrimPrefix(phone, "+86"), deadly: deadly}
	proxy := httputil.ReverseProxy{
		// The signature covers the host that the worker called.
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host },
		// A worker that is gone waits for no answer.
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		number := query.Get("PhoneNumbers") + query.Get("PhoneNumber") // of SendSms, of QuerySendDetails
		if strings.HasSuffix(number, k.phone) && k.deadly(r.Header.Get("x-acs-action")) {
			k.kill()
			panic(http.ErrAbortHandler)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	k.url = strings.TrimPrefix(server.URL, "http://")
	return k
}

func (k *killer) kill() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.worker.Kill()
	k.kills++
}

// supervise starts a worker, known to the killer before it makes its first call.
func (k *killer) supervise(start func() *harness.Process) *harness.Process {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.worker = start()
	return k.worker
}

// TestPoison: a job that makes its worker exit ends as poison after exactly
// max_interruptions, and the others, in flight each time, are sent once.
func TestPoison(t *testing.T) {
	t.Parallel()
	for name, deadly := range map[string]func(string) bool{
		"when it is sent":      func(action string) bool { return action == "SendSms" },
		"whatever is asked":    func(string) bool { return true },
		"when it is looked up": func(action string) bool { return action == "QuerySendDetails" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const interruptions = 3
			var args []string
			if name == "when it is looked up" {
				args = []string{"--fault", "accept_drop,phone=" + strings.TrimPrefix(phoneOf(0), "+86")}
			}
			s := start(t, append(args, "--latency", "30ms")...)
			k := startKiller(t, s.emulator.URL, phoneOf(0), deadly)
			settings := append([]string{"aliyun.endpoint", k.url, "worker.max_interruptions", fmt.Sprint(interruptions)}, brief...)
			ends := make(chan *nats.Msg, 1000)
			_, err := s.js.Conn().ChanSubscribe("passcode.result.poison", ends)
			require.NoError(t, err)

			w := k.supervise(func() *harness.Process { return s.workerNotReady(settings...) })
			w.WaitFor(`"msg":"ready"`, bound)
			others := 0
			feed := func() {
				for range 20 {
					others++
					s.publish(job(fmt.Sprintf("r%d", others), phoneOf(others)))
				}
			}
			feed()
			body := job("poison", phoneOf(0))
			seq := s.publish(body)
			feed()
			timeout := time.After(3 * bound)
			for poison := (passcode.Result{}); !poison.Final; {
				select {
				case <-w.Done():
					w = k.supervise(func() *harness.Process { return s.workerNotReady(settings...) })
					feed()
				case msg := <-ends:
					require.NoError(t, json.Unmarshal(msg.Data, &poison))
				case <-timeout:
					require.Fail(t, "the poison job has no end", "%v", s.results.statuses("poison"))
				}
			}
			s.untilDone(2 * bound)

			assert.Equal(t, interruptions, k.kills)
			r := s.record("poison")
			assert.Equal(t, passcode.StatusDeadLettered, r.Status)
			assert.Equal(t, passcode.ClassPoison, r.Error.Class)
			assert.Equal(t, interruptions, r.Interruptions)
			letter := s.letter("passcode.dead.poison.poison")
			assert.Equal(t, body, string(letter.Data))
			assert.Equal(t, fmt.Sprint(seq), letter.Header.Get("Passcode-Origin-Seq"))
			assert.Equal(t, "worker_interrupted", letter.Header.Get("Passcode-Error-Code"))
			sent := s.sentTo()
			delete(sent, "poison")
			assert.Len(t, sent, others)
			for id, n := range sent {
				assert.Equal(t, 1, n, id)
				assert.Equal(t, passcode.StatusSent, s.record(id).Status, id)
			}
		})
	}
}

// letter reads the dead letter of a subject.
func (s *system) letter(subject string) *jetstream.RawStreamMsg {
	s.t.Helper()
	dead, _ := s.stream("PASSCODE_DEAD")
	letter, err := dead.GetLastMsgForSubject(s.ctx(), subject)
	require.NoError(s.t, err)
	return letter
}

// untilLettered waits until there is a dead letter of a subject.
func (s *system) untilLettered(subject string) *jetstream.RawStreamMsg {
	s.t.Helper()
	dead, _ := s.stream("PASSCODE_DEAD")
	require.Eventually(s.t, func() bool {
		_, err := dead.GetLastMsgForSubject(s.ctx(), subject)
		return err == nil
	}, bound, 20*time.Millisecond)
	return s.letter(subject)
}

// limitDeliveries edits the consumer so that the server delivers no job again.
func (s *system) limitDeliveries() {
	s.t.Helper()
	consumer, err := s.js.Consumer(s.ctx(), "PASSCODE", "passcode-worker")
	require.NoError(s.t, err)
	edited := consumer.CachedInfo().Config
	edited.MaxDeliver = 1
	_, err = s.js.UpdateConsumer(s.ctx(), "PASSCODE", edited)
	require.NoError(s.t, err)
}

// terminate has a stranger acknowledge a job of ours for good, and waits for its
// dead letter.
func (s *system) terminate() {
	s.t.Helper()
	seq := s.publish(job("terminated", phoneOf(7)))
	s.results.reach(passcode.StatusRetrying, "terminated")
	// The server takes an acknowledgement from anybody who knows its subject.
	ack := fmt.Sprintf("$JS.ACK.PASSCODE.passcode-worker.1.%d.1.%d.0", seq, time.Now().UnixNano())
	require.NoError(s.t, s.js.Conn().Publish(ack, []byte("+TERM by hand")))
	letter := s.untilLettered(fmt.Sprintf("passcode.dead.poison.seq-%d", seq))
	assert.Empty(s.t, letter.Data, "its body went with it")
	assert.Equal(s.t, "terminated", letter.Header.Get("Passcode-Error-Code"))
	assert.Contains(s.t, letter.Header.Get("Passcode-Error-Message"), "by hand")
}

// TestGivenUpByTheServer: a job that the server stops delivering, since somebody
// edited the consumer, and one that somebody else terminates, become dead letters;
// one that somebody deletes is told of by its request; the others are sent.
func TestGivenUpByTheServer(t *testing.T) {
	t.Parallel()
	throttled := func(phone string) string { return "code=Throttling.User,phone=" + strings.TrimPrefix(phone, "+86") }
	s := start(t, "--fault", throttled(phoneOf(7)), "--fault", throttled(phoneOf(8)), "--fault", throttled(phoneOf(9)))
	w := s.worker("retry.initial_interval", "2s")
	ranOut, deleted := job("ranout", phoneOf(8)), job("deleted", phoneOf(9))
	s.publish(ranOut)
	gone := s.publish(deleted)
	s.publish(job("good1", phoneOf(1)))
	s.results.reach(passcode.StatusRetrying, "ranout", "deleted")
	stream, _ := s.stream("PASSCODE")
	require.NoError(t, stream.DeleteMsg(s.ctx(), gone))
	s.terminate()
	s.limitDeliveries()

	r := s.results.final("ranout", bound)
	assert.Equal(t, passcode.StatusDeadLettered, r.Status)
	assert.Equal(t, "max_deliveries", r.Error.Code)
	letter := s.letter("passcode.dead.poison.ranout")
	assert.Equal(t, ranOut, string(letter.Data))
	assert.Contains(t, letter.Header.Get("Passcode-Error-Message"), "max_deliver")
	assert.Equal(t, fmt.Sprint(r.Attempts), letter.Header.Get("Passcode-Attempts"))

	w.WaitFor("the server found a job gone", bound)
	page := s.finished(0, "request", "deleted").Stdout()
	assert.Contains(t, page, "Its job is gone from the stream without an end")

	s.publish(job("good2", phoneOf(2)))
	s.allSent("good1", "good2")
	s.untilDone(bound)
}

// TestGivenUpUnheard: what the server gave up on while no worker ran is found by
// the next that starts.
func TestGivenUpUnheard(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.worker().Kill()
	given := make(chan *nats.Msg, 10)
	_, err := s.js.Conn().ChanSubscribe("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>", given)
	require.NoError(t, err)
	stream, _ := s.stream("PASSCODE")
	consumer, err := stream.Consumer(s.ctx(), "passcode-worker")
	require.NoError(t, err)
	edited := consumer.CachedInfo().Config
	edited.MaxDeliver, edited.AckWait = 1, time.Second
	_, err = stream.UpdateConsumer(s.ctx(), edited)
	require.NoError(t, err)
	body := job("r1", phoneOf(1))
	s.publish(body)
	_, err = consumer.Next(jetstream.FetchMaxWait(bound)) // by somebody who goes away with it
	require.NoError(t, err)
	<-given

	s.worker()
	r := s.results.final("r1", bound)
	assert.Equal(t, passcode.StatusDeadLettered, r.Status)
	assert.Equal(t, "max_deliveries", r.Error.Code)
	assert.Equal(t, body, string(s.letter("passcode.dead.poison.r1").Data))
	s.untilDone(bound)
	assert.Empty(t, s.emulator.Sent())
}
