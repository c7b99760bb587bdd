package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/test/brokertest"
)

// pause stops the delivery of jobs on the server, or lets them flow again.
func (s *troubled) pause(on bool) {
	s.t.Helper()
	var err error
	if on {
		_, err = s.js.PauseConsumer(s.ctx(), "PASSCODE", "passcode-worker", time.Now().Add(time.Hour))
	} else {
		_, err = s.js.ResumeConsumer(s.ctx(), "PASSCODE", "passcode-worker")
	}
	require.NoError(s.t, err)
}

// TestJobsStreamFull: producers are told, by the stream and by "worker send"; what
// the stream took is sent, and there is room again.
func TestJobsStreamFull(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]func(*jetstream.StreamConfig){
		"max_bytes": func(c *jetstream.StreamConfig) { c.MaxBytes = 8 << 10 },
		"max_msgs":  func(c *jetstream.StreamConfig) { c.MaxMsgs = 30 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := trouble(t, nil)
			stream, _ := s.stream("PASSCODE")
			config := stream.CachedInfo().Config
			limit(&config)
			_, err := s.js.UpdateStream(s.ctx(), config)
			require.NoError(t, err)

			s.pause(true)
			var taken []string
			for {
				id := fmt.Sprintf("r%d", len(taken))
				_, err = s.js.Publish(s.ctx(), "passcode.send", []byte(job(id, phoneOf(len(taken)))))
				if err != nil {
					break
				}
				taken = append(taken, id)
			}
			var refused *jetstream.APIError
			require.ErrorAs(t, err, &refused)
			assert.Contains(t, refused.Description, "maximum")
			assert.EqualValues(t, len(taken), s.stored("PASSCODE"))

			send := s.finished(1, "send", "--phone", "+85268326366", "--code", code, "--request-id", "refused", "--wait", "5s")
			assert.Contains(t, send.Stderr(), "maximum")
			assert.Contains(t, send.Stderr(), "full")

			s.pause(false)
			s.allSent(taken...)
			s.enqueue("again", phoneOf(999))
			s.allSent("again")
			s.once(append(taken, "again")...)
			assert.Empty(t, s.results.of("refused"), "what was refused is nowhere")
			s.quiet()
		})
	}
}

// fill stores messages in a stream of its own until the broker has no room.
func (s *troubled) fill() {
	s.t.Helper()
	_, err := s.js.CreateStream(s.ctx(), jetstream.StreamConfig{Name: "FILL", Subjects: []string{"fill"}})
	require.NoError(s.t, err)
	var refused *jetstream.APIError // a broker that answers nothing any more has no room either
	for size := 64 << 10; size > 0; size /= 2 {
		for err = nil; err == nil; {
			ctx, cancel := context.WithTimeout(s.ctx(), time.Second)
			_, err = s.js.Publish(ctx, "fill", []byte(strings.Repeat("x", size)))
			cancel()
		}
		if !errors.As(err, &refused) {
			return
		}
	}
}

// TestStorageUsedUp: the broker's store is at its limit while jobs wait. None can
// be settled, and so none is sent; the worker says so, and goes on when there is
// room.
func TestStorageUsedUp(t *testing.T) {
	t.Parallel()
	broker := brokertest.Server(t, func(o *server.Options) { o.JetStreamMaxStore = 4 << 20 })
	s := troubledOn(t, broker, nil)
	s.run("jobs.max_bytes", "1MiB")
	s.wentOn("before", s.goodAndBad("before", 3, 0))
	s.pause(true)
	ids := s.goodAndBad("after", 20, 10)
	s.fill()
	s.pause(false)
	s.named("the records fail since")
	s.w.WaitFor("the broker keeps jobs waiting", bound)
	assert.Empty(t, s.results.of(ids[0]), "nothing is sent that can't be written down")
	require.NoError(t, s.js.DeleteStream(s.ctx(), "FILL"))
	s.wentOn("after", ids)
	s.w.WaitFor("the broker works again", bound)
	s.quiet()
}
