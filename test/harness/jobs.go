package harness

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// tryTimeout bounds one try to publish, and againAfter is the pause after it.
const (
	tryTimeout = 2 * time.Second
	againAfter = 20 * time.Millisecond
)

// Publish publishes a job until the stream has acknowledged it, however often the
// broker goes away meanwhile, or ctx ends. Of a publish whose answer was lost the
// message id keeps the next one from being a second job.
func Publish(ctx context.Context, js jetstream.JetStream, id, body string) error {
	for {
		try, cancel := context.WithTimeout(ctx, tryTimeout)
		_, err := js.Publish(try, "passcode.send", []byte(body), jetstream.WithMsgID(id))
		cancel()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(againAfter):
		}
	}
}

// OnResult calls on with every result that is announced from now on, one at a
// time. A result that can't be read fails the test.
func OnResult(t testing.TB, nc *nats.Conn, on func(passcode.Result)) {
	t.Helper()
	_, err := nc.Subscribe("passcode.result.>", func(msg *nats.Msg) {
		if len(msg.Data) == 0 {
			return // the mark of a record that somebody deleted, which is announced too
		}
		var r passcode.Result
		if err := json.Unmarshal(msg.Data, &r); err != nil {
			t.Errorf("announced: %v", err)
			return
		}
		on(r)
	})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatalf("listen for results: %v", err)
	}
}
