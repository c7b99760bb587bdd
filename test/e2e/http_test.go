package e2e

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/passcode-worker/passcode-worker/passcode"
)

// TestTwoWorkersOneAddress: the second on a machine sends all the same, and says
// what it lacks.
func TestTwoWorkersOneAddress(t *testing.T) {
	t.Parallel()
	s := start(t)
	first := s.worker("http.listen", "127.0.0.1:0")
	address := listening(t, first.WaitFor(`"HTTP listens"`, bound))
	second := s.worker("http.listen", address)
	second.WaitFor("the address is in use", bound)
	first.Kill()
	s.publish(job("r1", phoneOf(1)))
	assert.Equal(t, passcode.StatusSent, s.results.final("r1", bound).Status)
}
