package cluster

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/test/harness"
)

// TestEveryNodeDiesOnce: 1,500 jobs, or 5,000 in the pipeline, while each node is killed once, the leader of
// the jobs is cut off once, and a worker is killed. While each trouble lasts all
// jobs so far come to their end. None is lost, none is sent twice, no phone gets
// more than its limit, no dead letter is written twice.
func TestEveryNodeDiesOnce(t *testing.T) {
	t.Parallel()
	s := start(t, "--latency", "50ms")
	each := 300
	if harness.All() {
		each = 1000
	}
	var leader int
	troubles := []trouble{
		{"node 1 killed", s.cluster.Nodes[0].Kill, s.cluster.Nodes[0].Restart},
		{"node 2 killed", s.cluster.Nodes[1].Kill, s.cluster.Nodes[1].Restart},
		{"node 3 killed", s.cluster.Nodes[2].Kill, s.cluster.Nodes[2].Restart},
		{"leader cut off", func() {
			leader = s.cluster.Leader(s.js, "PASSCODE")
			s.cluster.Nodes[leader].Disconnect()
		}, func() { s.cluster.Nodes[leader].Reconnect() }},
		{"worker 1 killed", s.workers[0].Kill, s.workers[0].Start},
	}
	for n, trouble := range troubles {
		s.through(jobsFrom(n*each, each), trouble)
	}
	out := s.check(jobsFrom(0, len(troubles)*each))
	t.Logf("%d jobs: %d sent, %d twice, %d lost; %v; %d settled by look-up, %d attempts counted; the workers complained of %v",
		len(troubles)*each, out.sent, out.twice, out.lost, out.status, out.recovered, out.attempts, s.complaints())

	for _, w := range s.workers {
		require.Zero(t, w.Stop(bound), "it leaves in order")
	}
}

// trouble is something that begins, lasts while jobs are worked off, and ends.
type trouble struct {
	name       string
	begin, end func()
}

// through publishes jobs, has trouble begin when a third of them is published,
// waits until all are done in spite of it, ends it, and waits until the cluster is
// whole again.
func (s *system) through(jobs []job, trouble trouble) {
	s.t.Helper()
	var count atomic.Int64
	third := make(chan struct{})
	published := make(chan error, 1)
	go func() {
		published <- s.publish(jobs, func() {
			if count.Add(1) == int64(len(jobs))/3 {
				close(third)
			}
		})
	}()
	<-third
	began := time.Now()
	trouble.begin()
	require.NoError(s.t, <-published)
	afterPublished := time.Since(began)
	s.untilDone()
	afterDone := time.Since(began)
	silence := s.silence(began)
	ended := time.Now()
	trouble.end()
	s.cluster.AwaitWhole(s.js)
	s.t.Logf("%-15s all published after %4.1fs, all done after %4.1fs; no message for %4.1fs at the longest; whole again %4.1fs after its end",
		trouble.name, afterPublished.Seconds(), afterDone.Seconds(), silence.Seconds(), time.Since(ended).Seconds())
}

// silence is how long Aliyun was sent nothing, at the longest, since then.
func (s *system) silence(since time.Time) time.Duration {
	times := []time.Time{since}
	for _, sent := range s.emulator.Sent() {
		if sent.At.After(since) {
			times = append(times, sent.At)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	var longest time.Duration
	for i := 1; i < len(times); i++ {
		longest = max(longest, times[i].Sub(times[i-1]))
	}
	return longest
}

// complaints counts what the workers warned of.
func (s *system) complaints() map[string]int {
	count := map[string]int{}
	for _, w := range s.workers {
		for line := range strings.Lines(w.Log()) {
			if _, rest, ok := strings.Cut(line, `"level":"WARN","msg":"`); ok {
				what, _, _ := strings.Cut(rest, `"`)
				count[what]++
			}
		}
	}
	return count
}
