package e2e

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/stretchr/testify/assert"

	"github.com/passcode-worker/passcode-worker/test/brokertest"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

// troubled is a system whose broker gets into trouble under a running worker.
type troubled struct {
	*system
	broker *brokertest.Handle
	w      *harness.Process
	http   endpoint
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
	patient := []string{"aliyun.timeout", "3s", "aliyun.connect_timeout", "3s"}
	s.w, s.http = s.system.http(slices.Concat(brief, patient, settings)...)
	s.untilReady()
}

// named waits until the worker says that it is not ready, and why.
func (s *troubled) named(why string) {
	s.t.Helper()
	s.http.becomes(http.StatusServiceUnavailable, why)
}

func (s *troubled) untilReady() {
	s.t.Helper()
	s.http.becomes(http.StatusOK, "")
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
