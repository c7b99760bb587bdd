package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/passcode-worker/passcode-worker/internal/lab/emulator"
)

// client keeps no connection open and uses no proxy from the environment.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

// Call makes one request of a process of the system and reads the answer.
func Call(ctx context.Context, method, url, body string, read func(io.Reader) error) error {
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close() //nolint:errcheck // only read
	if response.StatusCode/100 != 2 {
		said, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10)) // as much as there is
		return fmt.Errorf("%s %s: %s: %s", method, url, response.Status, said)
	}
	return read(response.Body)
}

// Admin administers an emulator, wherever it runs.
type Admin struct{ URL string } // http://127.0.0.1:PORT

// Each calls on with each message that the emulator accepted after the first ones, in
// order. If it fails, on was called with those before the failure.
func (a Admin) Each(ctx context.Context, after int, on func(emulator.Sent)) error {
	return Call(ctx, http.MethodGet, fmt.Sprintf("%s/_/sent?after=%d", a.URL, after), "", func(body io.Reader) error {
		for lines := json.NewDecoder(body); ; {
			var s emulator.Sent
			err := lines.Decode(&s)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("read what the emulator accepted: %w", err)
			}
			on(s)
		}
	})
}

// Reset makes the emulator drop everything.
func (a Admin) Reset(ctx context.Context) error { return a.post(ctx, "/_/reset", "") }

// SetFaults replaces the emulator's faults.
func (a Admin) SetFaults(ctx context.Context, faults string) error {
	return a.post(ctx, "/_/faults", faults)
}

func (a Admin) post(ctx context.Context, path, body string) error {
	return Call(ctx, http.MethodPost, a.URL+path, body, func(io.Reader) error { return nil })
}

// Endpoint is host:port, as aliyun.endpoint wants it.
func (a Admin) Endpoint() string { return strings.TrimPrefix(a.URL, "http://") }

// Listening waits until an emulator's process listens on the loopback interface.
func Listening(ctx context.Context, p *Process) (Admin, error) {
	_, address, err := p.WaitFor(ctx, "listening on ")
	if err != nil {
		return Admin{}, err
	}
	if !strings.HasPrefix(address, "http://127.0.0.1:") {
		return Admin{}, fmt.Errorf("the emulator listens at %q, which is no http address of the loopback interface", address)
	}
	return Admin{URL: address}, nil
}
