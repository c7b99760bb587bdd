package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

// TestOutage: the emulator is killed under steady jobs and started again at the
// same address. Jobs wait and expire in time, and what is still worth sending is
// sent once, slowly at first.
func TestOutage(t *testing.T) {
	t.Parallel()
	const (
		every = 100 * time.Millisecond // one job
		down  = 14 * time.Second
		life  = 9 * time.Second // of a passcode
	)
	s := start(t)
	var ready []endpoint
	var workers []*harness.Process
	for range 2 {
		w, asked := s.http("worker.passcode_ttl", life.String())
		workers, ready = append(workers, w), append(ready, asked)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	n := 0
	publishFor := func(d time.Duration) {
		for end := time.Now().Add(d); time.Now().Before(end); n++ {
			s.publish(job(fmt.Sprintf("r%d", n), phoneOf(n)))
			<-tick.C
		}
	}
	publishFor(3 * time.Second)
	s.untilDone(bound)
	before := s.emulator.Sent()
	s.emulator.Kill()
	gone := time.Now()
	publishFor(down)
	for _, ask := range ready {
		status, body := ask.get("/readyz")
		assert.Equal(t, http.StatusServiceUnavailable, status)
		assert.Contains(t, body, "aliyun: down since ")
		assert.Contains(t, body, "connection_refused")
	}
	s.emulator = harness.StartEmulator(t, s.bin, "--listen", strings.TrimPrefix(s.emulator.URL, "http://"))
	back := time.Now()
	for _, ask := range ready { // it takes a job to find out
		for status := 0; status != http.StatusOK && time.Since(back) < bound; status, _ = ask.get("/readyz") {
			publishFor(every)
		}
	}
	publishFor(3 * time.Second)
	s.untilDone(bound)

	sent := map[string]int{}
	perSecond := map[int]int{}
	first := time.Duration(0)
	for _, one := range append(before, s.emulator.Sent()...) {
		sent[one.OutID]++
		at := one.At.Sub(gone)
		perSecond[int((at+time.Minute)/time.Second)-60]++
		if one.At.After(gone) && first == 0 {
			first = at
		}
	}
	for second := -3; second <= int(time.Since(gone)/time.Second); second++ {
		t.Logf("second %3d: %3d sent", second, perSecond[second])
	}
	count := map[passcode.Status]int{}
	for i := range n {
		id := fmt.Sprintf("r%d", i)
		r := s.results.final(id, bound)
		count[r.Status]++
		if r.Status == passcode.StatusSent {
			assert.Equal(t, 1, sent[id], id)
			continue
		}
		assert.Zero(t, sent[id], id)
		if r.Status == passcode.StatusExpired {
			// No later than the jobs take that a worker has at hand, 60 at 3 a second.
			assert.Less(t, r.UpdatedAt.Sub(r.ExpiresAt), 20*time.Second, id)
		}
	}
	t.Logf("back after %s, noticed after %s more: %v", back.Sub(gone).Round(time.Second), (first - back.Sub(gone)).Round(time.Second), count)
	assert.Greater(t, count[passcode.StatusExpired], 20)
	assert.LessOrEqual(t, count[passcode.StatusDeadLettered]+count[passcode.StatusUnknown], n/10)
	assert.LessOrEqual(t, perSecond[int(first/time.Second)], 2*2*3+2, "in the first second, twice the floor of both workers at most")
	for i, ask := range ready {
		status, body := ask.get("/readyz")
		assert.Equal(t, http.StatusOK, status, body)
		assert.Equal(t, 1, strings.Count(workers[i].Output(), "Aliyun is down"), "told once")
		assert.Equal(t, 1, strings.Count(workers[i].Output(), "Aliyun answers again"))
	}
}
