package cluster

import (
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
	s.check(jobsFrom(0, len(troubles)*each))
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
	s.untilDone()
	s.t.Logf("%s: all done after %4.1fs", trouble.name, time.Since(began).Seconds())
	trouble.end()
	s.cluster.AwaitWhole(s.js)
}
