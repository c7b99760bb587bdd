// Package e2e tests the whole program from outside: worker and emulator are
// processes of the real binary, the broker is a NATS server in this process or
// in a container, and what happened is read from results, records, dead letters
// and the emulator alone.
package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/brokertest"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

// code is the passcode of every good job. It must not show in any output.
const code = "pq7z9x"

// bound is how long anything may take that has no reason to take long. It is
// wide, since tests run side by side under the race detector.
const bound = 60 * time.Second

// system is a broker, an emulator, and any number of workers.
type system struct {
	t        *testing.T
	bin      string
	url      string
	js       jetstream.JetStream
	emulator *harness.Emulator
	results  *results
}

// start starts a system without workers on a broker of its own.
func start(t *testing.T, emulatorArgs ...string) *system {
	t.Helper()
	server := brokertest.Server(t)
	nc, _ := server.Connect()
	return startOn(t, server.URL(), nc, emulatorArgs...)
}

// startOn starts a system without workers on the broker at the URL.
func startOn(t *testing.T, url string, nc *nats.Conn, emulatorArgs ...string) *system {
	t.Helper()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	s := &system{t: t, bin: harness.BuildWorker(t), url: url, js: js, results: watch(t, nc)}
	s.emulator = harness.StartEmulator(t, s.bin, emulatorArgs...)
	s.emulator.Forbid(code)
	return s
}

// worker starts a worker with these settings besides the usual, and waits until
// it is ready.
func (s *system) worker(settings ...string) *harness.Process {
	s.t.Helper()
	w := s.workerNotReady(settings...)
	w.WaitFor(`"msg":"ready"`, bound)
	return w
}

func (s *system) workerNotReady(settings ...string) *harness.Process {
	s.t.Helper()
	env := s.emulator.WorkerEnv(s.url)
	for name, value := range environ(settings...) {
		env[name] = value
	}
	w := harness.StartWorker(s.t, s.bin, env, "run")
	w.Forbid(code, harness.AccessKeySecret)
	return w
}

// environ turns key, value, key, value into environment variables.
func environ(settings ...string) map[string]string {
	env := map[string]string{}
	for i := 0; i < len(settings); i += 2 {
		env[variable(settings[i])] = settings[i+1]
	}
	return env
}

func variable(key string) string {
	return "PASSCODE_" + strings.ToUpper(strings.ReplaceAll(key, ".", "__"))
}

func (s *system) ctx() context.Context {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	s.t.Cleanup(cancel)
	return ctx
}

// publish publishes a job as it stands, without a message id, and returns its
// sequence.
func (s *system) publish(body string) uint64 {
	s.t.Helper()
	ack, err := s.js.Publish(s.ctx(), "passcode.send", []byte(body))
	require.NoError(s.t, err)
	return ack.Sequence
}

// enqueue publishes a good job until the stream has acknowledged it, however
// often the broker goes away.
func (s *system) enqueue(id, phone string) {
	s.t.Helper()
	require.NoError(s.t, harness.Publish(s.ctx(), s.js, id, job(id, phone)))
}

// phoneOf gives test number i a phone of its own.
func phoneOf(i int) string { return fmt.Sprintf("+86138%08d", i) }

// job is a good job.
func job(id, phone string) string {
	return fmt.Sprintf(`{"request_id":%q,"phone":%q,"code":%q}`, id, phone, code)
}

// sentTo counts what the emulator accepted, by request.
func (s *system) sentTo() map[string]int {
	s.t.Helper()
	n := map[string]int{}
	for _, sent := range s.emulator.Sent() {
		n[sent.OutID]++
	}
	return n
}

// record reads the stored record of a request.
func (s *system) record(id string) passcode.Result {
	s.t.Helper()
	kv, err := s.js.KeyValue(s.ctx(), "passcode-requests")
	require.NoError(s.t, err)
	entry, err := kv.Get(s.ctx(), id)
	require.NoError(s.t, err)
	var r passcode.Result
	require.NoError(s.t, json.Unmarshal(entry.Value(), &r))
	return r
}

// allSent checks that each of the requests comes to its end as sent.
func (s *system) allSent(ids ...string) {
	s.t.Helper()
	for _, id := range ids {
		assert.Equal(s.t, passcode.StatusSent, s.results.final(id, bound).Status, id)
	}
}

// once checks that each of the requests was sent, and none twice.
func (s *system) once(ids ...string) {
	s.t.Helper()
	sent := s.sentTo()
	for _, id := range ids {
		assert.Equal(s.t, 1, sent[id], "%s was sent", id)
	}
}

// noneTwice checks that no request was sent twice.
func (s *system) noneTwice() {
	s.t.Helper()
	for id, n := range s.sentTo() {
		assert.Equal(s.t, 1, n, id)
	}
}

// eachOnce checks that the jobs prefix0, prefix1, … were sent once each, as their
// records say, and no others.
func (s *system) eachOnce(prefix string, n int) {
	s.t.Helper()
	want := map[string]int{}
	for i := range n {
		id := fmt.Sprintf("%s%d", prefix, i)
		want[id] = 1
		assert.Equal(s.t, passcode.StatusSent, s.record(id).Status, id)
	}
	assert.Equal(s.t, want, s.sentTo())
}

// stream is a stream of the broker, and its state.
func (s *system) stream(name string) (jetstream.Stream, jetstream.StreamState) {
	s.t.Helper()
	stream, err := s.js.Stream(s.ctx(), name)
	require.NoError(s.t, err)
	return stream, stream.CachedInfo().State
}

// stored is how many messages a stream holds; those of the jobs are taken or not.
func (s *system) stored(stream string) uint64 {
	s.t.Helper()
	_, state := s.stream(stream)
	return state.Msgs
}

// untilDone waits until no job is left in the stream.
func (s *system) untilDone(within time.Duration) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return s.stored("PASSCODE") == 0 }, within, 20*time.Millisecond,
		"jobs are left in the stream")
}

// publishAsync publishes good jobs prefix0, prefix1, … to phones of their own. It
// waits for no answer.
func (s *system) publishAsync(prefix string, n, firstPhone int) {
	s.t.Helper()
	for i := range n {
		_, err := s.js.PublishAsync("passcode.send", []byte(job(fmt.Sprintf("%s%d", prefix, i), phoneOf(firstPhone+i))))
		require.NoError(s.t, err)
	}
}

// endpoint is a worker's HTTP server.
type endpoint struct {
	t       *testing.T
	address string
}

// http starts a worker that answers HTTP.
func (s *system) http(settings ...string) (*harness.Process, endpoint) {
	s.t.Helper()
	w := s.worker(append(settings, "http.listen", "127.0.0.1:0")...)
	line := w.WaitFor(`"HTTP listens"`, bound)
	_, rest, ok := strings.Cut(line, `"address":"`)
	require.True(s.t, ok, line)
	address, _, _ := strings.Cut(rest, `"`)
	return w, endpoint{s.t, address}
}

func (e endpoint) get(path string) (int, string) {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.address+path, nil)
	require.NoError(e.t, err)
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = response.Body.Close() }() // only read
	body, err := io.ReadAll(response.Body)
	require.NoError(e.t, err)
	return response.StatusCode, string(body)
}

// becomes waits until /readyz answers with this status and says this.
func (e endpoint) becomes(status int, says string) {
	e.t.Helper()
	var body string
	ok := assert.Eventually(e.t, func() bool {
		var got int
		got, body = e.get("/readyz")
		return got == status && strings.Contains(body, says)
	}, bound, 20*time.Millisecond)
	require.True(e.t, ok, "not %d because of %q; the worker says: %s", status, says, body)
}

func TestMain(m *testing.M) {
	harness.Waiting(8)
	os.Exit(m.Run())
}
