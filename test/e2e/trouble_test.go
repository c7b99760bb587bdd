package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/test/brokertest"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

// troubled is a system whose broker gets into trouble under a running worker.
type troubled struct {
	*system
	broker *brokertest.Handle
	w      *harness.Process
	ask    func(path string) (int, string)
}

// trouble starts a system with one worker that is ready.
func trouble(t *testing.T, settings []string, emulatorArgs ...string) *troubled {
	t.Helper()
	s := troubledBroker(t, emulatorArgs...)
	s.run(settings...)
	return s
}

// troubledBroker starts a system without a worker.
func troubledBroker(t *testing.T, emulatorArgs ...string) *troubled {
	t.Helper()
	return troubledOn(t, brokertest.Server(t), nil, emulatorArgs...)
}

// troubledOn is that on a broker that may ask who connects.
func troubledOn(t *testing.T, broker *brokertest.Handle, us []nats.Option, emulatorArgs ...string) *troubled {
	t.Helper()
	nc, _ := broker.Connect(us...)
	return &troubled{system: startOn(t, broker.URL(), nc, emulatorArgs...), broker: broker}
}

// run starts the worker.
func (s *troubled) run(settings ...string) {
	s.t.Helper()
	// Calls have time here: no attempt may be lost to a machine that is busy with
	// other tests, since none may be lost to the broker.
	patient := []string{"http.listen", "127.0.0.1:0", "aliyun.timeout", "3s", "aliyun.connect_timeout", "3s"}
	s.w = s.worker(slices.Concat(brief, patient, settings)...)
	s.ask = asking(s.t, s.w.WaitFor(`"HTTP listens"`, bound))
	s.untilReady()
}

// named waits until the worker says that it is not ready, and why.
func (s *troubled) named(why string) {
	s.t.Helper()
	var body string
	ok := assert.Eventually(s.t, func() bool {
		var status int
		status, body = s.ask("/readyz")
		return status == http.StatusServiceUnavailable && strings.Contains(body, why)
	}, bound, 20*time.Millisecond)
	require.True(s.t, ok, "not ready because of %q; the worker says: %s", why, body)
}

func (s *troubled) untilReady() {
	s.t.Helper()
	var body string
	ok := assert.Eventually(s.t, func() bool {
		var status int
		status, body = s.ask("/readyz")
		return status == http.StatusOK
	}, bound, 20*time.Millisecond)
	require.True(s.t, ok, "the worker says: %s", body)
}

// command runs a command of ours on the same broker; it must succeed.
func (s *troubled) command(args ...string) {
	s.t.Helper()
	c := harness.StartWorker(s.t, s.bin, s.emulator.WorkerEnv(s.broker.URL()), args...)
	c.Forbid(code)
	require.Zero(s.t, c.Wait(bound), "worker %s", strings.Join(args, " "))
}

// once checks that each of the requests was sent, and none twice.
func (s *troubled) once(ids ...string) {
	s.t.Helper()
	sent := s.sentTo()
	for _, id := range ids {
		assert.Equal(s.t, 1, sent[id], "%s was sent", id)
	}
}

// quiet checks that no line of the log came more often than an operator reads.
func (s *troubled) quiet() {
	s.t.Helper()
	count := map[string]int{}
	for line := range strings.Lines(s.w.Output()) {
		if strings.Contains(line, `"level":"INFO"`) {
			continue
		}
		_, rest, _ := strings.Cut(line, `"msg":"`)
		msg, _, _ := strings.Cut(rest, `"`)
		count[msg]++
	}
	for msg, n := range count {
		assert.LessOrEqual(s.t, n, mostLines, "lines that say %q", msg)
	}
}

// mostLines is how many lines a log may have that say the same, whatever happens.
const mostLines = 33
