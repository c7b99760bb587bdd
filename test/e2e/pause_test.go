package e2e

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

// TestPause: every replica stops, says why and whose pause it is, and goes on
// when it is resumed, or when the pause runs out.
func TestPause(t *testing.T) {
	t.Parallel()
	s := start(t)
	one, first := s.http()
	other, second := s.http()
	becomes := func(status int, says string) {
		t.Helper()
		first.becomes(status, says)
		second.becomes(status, says)
	}
	becomes(http.StatusOK, "ok")

	s.finished(0, "pause", "--reason", "the template changes")
	becomes(http.StatusServiceUnavailable, `paused: until "worker resume", by `)
	becomes(http.StatusServiceUnavailable, ": the template changes")
	s.publish(job("r1", phoneOf(1)))
	s.publish(job("r2", phoneOf(2)))
	page := s.finished(1, "request", "r1").Stderr()
	assert.Contains(t, page, "no record of request r1")
	assert.Contains(t, page, "2 jobs wait for a worker")
	assert.Contains(t, page, "jobs are paused for all workers")
	assert.Empty(t, s.results.of("r1"))

	said := s.finished(0, "resume").Stderr()
	assert.Contains(t, said, ": the template changes")
	assert.Contains(t, said, "2 jobs wait; workers take them up within 5s")
	s.allSent("r1", "r2")
	becomes(http.StatusOK, "ok")

	// Longer than it takes a busy machine's workers to look twice.
	s.finished(0, "pause", "8s")
	becomes(http.StatusServiceUnavailable, "paused: until 20")
	s.publish(job("r3", phoneOf(3)))
	s.allSent("r3")
	becomes(http.StatusOK, "ok")

	for _, w := range []*harness.Process{one, other} {
		assert.Equal(t, 2, strings.Count(w.Output(), "jobs are paused for all workers"), "each pause is logged once")
		assert.Equal(t, 2, strings.Count(w.Output(), "jobs flow again"))
		assert.Contains(t, w.Output(), "the template changes")
	}
}

// TestResumeWhileTheAccountIsClosed has the account probed at once.
func TestResumeWhileTheAccountIsClosed(t *testing.T) {
	t.Parallel()
	s := start(t, "--fault", "code=isv.AMOUNT_NOT_ENOUGH,count=1")
	w := s.worker()
	s.publish(job("r1", phoneOf(1)))
	w.WaitFor("all replicas pause", bound)
	s.results.reach(passcode.StatusRetrying, "r1")
	// The account's own pause lasts 30 seconds; an operator's on top, for good.
	said := s.finished(0, "pause").Stderr()
	assert.Contains(t, said, "the account is closed as well")
	assert.Contains(t, said, "isv.AMOUNT_NOT_ENOUGH")
	page := s.finished(0, "request", "r1").Stdout()
	assert.Contains(t, page, "Aliyun refuses the whole account")
	said = s.finished(0, "resume").Stderr()
	assert.Contains(t, said, "the next job is sent as the probe")
	s.allSent("r1")
	w.WaitFor("the account works again", bound)
}
