package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
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
	listening    = "listening on "
)

// Emulator is a local stand-in for Aliyun's SMS service, running as a process.
type Emulator struct {
	*Process
	*Admin
}

// Admin asks an emulator, wherever it runs, what it accepted, and changes its
// faults.
type Admin struct {
	// URL is its base address, http://127.0.0.1:PORT.
	URL string
	t   testing.TB
}

// AdminAt returns the administration of the emulator at a base address.
func AdminAt(t testing.TB, url string) *Admin { return &Admin{URL: url, t: t} }

// Sent is a message that the emulator accepted.
type Sent struct {
	Phone string    `json:"phone"`
	OutID string    `json:"out_id"`
	BizID string    `json:"biz_id"`
	Code  string    `json:"code"`
	At    time.Time `json:"at"`
	// TemplateCode and SignName are what the message was sent with.
	TemplateCode string `json:"template_code"`
	SignName     string `json:"sign_name"`
}

// StartEmulator starts `worker emulator` on a free port of the loopback
// interface, with further arguments such as --limits, and waits until it listens.
func StartEmulator(t testing.TB, bin string, args ...string) *Emulator {
	t.Helper()
	p := StartWorker(t, bin, nil, EmulatorArgs("127.0.0.1:0", args...)...)
	_, address, _ := strings.Cut(p.WaitFor(listening, startTimeout), listening)
	parsed, err := url.Parse(strings.TrimSpace(address))
	if err != nil || parsed.Scheme != "http" || parsed.Hostname() != "127.0.0.1" {
		t.Fatalf("the emulator listens at %q, which is no http address of the loopback interface", address)
	}
	return &Emulator{Process: p, Admin: AdminAt(t, "http://"+parsed.Host)}
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
	return WorkerEnv(natsURL, strings.TrimPrefix(e.URL, "http://"))
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
func (a *Admin) Sent() []Sent {
	a.t.Helper()
	var sent []Sent
	lines := json.NewDecoder(bytes.NewReader(a.call(http.MethodGet, "/_/sent", nil)))
	for {
		var s Sent
		switch err := lines.Decode(&s); err {
		case nil:
			sent = append(sent, s)
		case io.EOF:
			return sent
		default:
			a.t.Fatalf("read what the emulator sent: %v", err)
		}
	}
}

// Reset makes the emulator forget what it accepted.
func (a *Admin) Reset() {
	a.t.Helper()
	a.call(http.MethodPost, "/_/reset", nil)
}

// SetFaults posts a body to the emulator's faults, in the form that the
// emulator documents.
func (a *Admin) SetFaults(body string) {
	a.t.Helper()
	a.call(http.MethodPost, "/_/faults", strings.NewReader(body))
}

func (a *Admin) call(method, path string, body io.Reader) []byte {
	a.t.Helper()
	ctx, cancel := context.WithTimeoutCause(context.Background(), callTimeout,
		fmt.Errorf("the emulator took longer than %v", callTimeout))
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, a.URL+path, body)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	// One connection a call: none is left open for a leak check to find.
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = response.Body.Close() }() // read to its end below
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	if response.StatusCode/100 != 2 {
		a.t.Fatalf("%s %s: %s: %s", method, path, response.Status, answer)
	}
	return answer
}
