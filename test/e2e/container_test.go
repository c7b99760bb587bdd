package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/containers"
)

// TestBrokerKilled: the broker's container is killed twice with jobs in every
// state on the way, and frozen once; two workers go on when it is back. Every
// job that the stream acknowledged is sent, none twice.
func TestBrokerKilled(t *testing.T) {
	t.Parallel()
	containers.Require(t)
	broker := containers.StartNATS(t)
	s := startOn(t, broker.URL(), broker.Connect(), "--latency", "100ms", "--fault", "throttle,share=0.05", "--fault", "accept_drop,share=0.05")
	for range 2 {
		s.worker(brief...)
	}
	const n = 400
	trouble := map[int]func(){
		100: func() { broker.Kill(); broker.Restart() },
		200: func() { broker.Pause(); <-time.After(300 * time.Millisecond); broker.Unpause() },
		300: func() { broker.Kill(); broker.Restart() },
	}
	for i := range n {
		if f, ok := trouble[i]; ok {
			f()
		}
		s.insist(fmt.Sprintf("r%d", i), phoneOf(i))
	}
	s.untilDone(2 * bound)
	for i := range n {
		assert.Equal(t, passcode.StatusSent, s.record(fmt.Sprintf("r%d", i)).Status)
	}
	sent := s.sentTo()
	assert.Len(t, sent, n)
	for id, times := range sent {
		assert.Equal(t, 1, times, id)
	}
}
