package harness

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/lab/emulator"
	"github.com/passcode-worker/passcode-worker/internal/lab/system"
)

// The credentials that the emulator accepts and WorkerEnv hands to a worker.
const (
	AccessKeyID     = "LTAI5tEmulatorKeyId"
	AccessKeySecret = "EmulatorKeySecret0123456789"
)

// startTimeout bounds how long a process may take to say where it listens, and
// callTimeout one question to the emulator.
const (
	startTimeout = 30 * time.Second
	callTimeout  = 10 * time.Second
)

// Emulator is a local stand-in for Aliyun's SMS service, running as a process.
type Emulator struct {
	*Process
	*Admin
}

// Admin asks an emulator, wherever it runs, what it accepted, and changes its
// faults.
type Admin struct {
	system.Admin
	t testing.TB
}

// Sent is a message that the emulator accepted.
type Sent = emulator.Sent

// AdminAt returns the administration of the emulator at a base address.
func AdminAt(t testing.TB, url string) *Admin { return &Admin{system.Admin{URL: url}, t} }

// StartEmulator starts `worker emulator` on a free port of the loopback
// interface, with further arguments such as --limits, and waits until it listens.
func StartEmulator(t testing.TB, bin string, args ...string) *Emulator {
	t.Helper()
	p := StartWorker(t, bin, nil, EmulatorArgs("127.0.0.1:0", args...)...)
	ctx, cancel := bounded(startTimeout)
	defer cancel()
	admin, err := system.Listening(ctx, p.Process)
	if err != nil {
		t.Fatalf("the emulator: %v\n%s", err, p.lastOutput())
	}
	return &Emulator{Process: p, Admin: AdminAt(t, admin.URL)}
}

func bounded(timeout time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(context.Background(), timeout, fmt.Errorf("the emulator took longer than %v", timeout))
}

// EmulatorArgs are the arguments of an emulator that listens there, with the
// credentials that WorkerEnv hands to workers.
func EmulatorArgs(listen string, args ...string) []string {
	return append([]string{
		"emulator", "--listen", listen, "--access-key-id", AccessKeyID, "--access-key-secret", AccessKeySecret,
	}, args...)
}

// WorkerEnv is the environment of a worker that takes jobs from a server and
// sends them to the emulator; see [WorkerEnv].
func (e *Emulator) WorkerEnv(natsURL string) map[string]string {
	return WorkerEnv(natsURL, e.Endpoint())
}

// WorkerEnv is the environment of a worker that takes jobs from a server and
// sends them to an emulator, host:port. It has no HTTP listener, so that many
// workers run side by side; the caller may add to it and change it.
func WorkerEnv(natsURL, emulator string) map[string]string {
	return map[string]string{
		"PASSCODE_NATS__URL":                 natsURL,
		"PASSCODE_ALIYUN__ENDPOINT":          emulator,
		"PASSCODE_ALIYUN__PROTOCOL":          "http",
		"PASSCODE_ALIYUN__ACCESS_KEY_ID":     AccessKeyID,
		"PASSCODE_ALIYUN__ACCESS_KEY_SECRET": AccessKeySecret,
		"PASSCODE_ALIYUN__SIGN_NAME":         "Emulator",
		"PASSCODE_ALIYUN__TEMPLATES":         `[{"usage_type":"Generic","template_code":"SMS_100000001"}]`,
		"PASSCODE_HTTP__LISTEN":              "",
	}
}

// Sent lists what the emulator accepted, in its order.
func (a *Admin) Sent() (sent []Sent) {
	a.t.Helper()
	a.call(func(ctx context.Context) error { return a.Each(ctx, 0, func(s Sent) { sent = append(sent, s) }) })
	return sent
}

// Reset makes the emulator drop what it accepted.
func (a *Admin) Reset() {
	a.t.Helper()
	a.call(a.Admin.Reset)
}

// SetFaults posts a body to the emulator's faults, in the form that the
// emulator documents.
func (a *Admin) SetFaults(body string) {
	a.t.Helper()
	a.call(func(ctx context.Context) error { return a.Admin.SetFaults(ctx, body) })
}

func (a *Admin) call(f func(context.Context) error) {
	a.t.Helper()
	ctx, cancel := bounded(callTimeout)
	defer cancel()
	if err := f(ctx); err != nil {
		a.t.Fatalf("%v", err)
	}
}
