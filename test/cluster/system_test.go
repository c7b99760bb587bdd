// Package cluster tests the whole program on a NATS cluster of three, all of it in
// containers of the images that are shipped: nodes are killed, the leader's links
// are cut, a worker dies, and what became of the jobs is read from outside alone.
package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/containers"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

// code is the passcode of every job. It must not show in any output.
const code = "pq7z9x"

const (
	// bound is how long jobs may take to be published and done, whatever happens
	// to the cluster meanwhile.
	bound = 2 * time.Minute
	// askTimeout bounds one question to the cluster.
	askTimeout = 2 * time.Second
	// publishers is how many jobs are published at a time.
	publishers = 32
)

// settings are a cluster's, with times that a test can wait for: a lease is even
// shorter than an election, so that both workers take up the same jobs.
var settings = map[string]string{
	"PASSCODE_NATS__REPLICAS":            "3",
	"PASSCODE_LIMITS__PHONE":             fmt.Sprintf(`["%d/1h"]`, perPhone),
	"PASSCODE_WORKER__ACK_WAIT":          "4s",
	"PASSCODE_RETRY__INITIAL_INTERVAL":   "200ms",
	"PASSCODE_ALIYUN__TIMEOUT":           "1s",
	"PASSCODE_ALIYUN__CONNECT_TIMEOUT":   "500ms",
	"PASSCODE_ALIYUN__IN_DOUBT__LOOKUPS": `["1s","2s","3s"]`,
}

// system is a cluster, an emulator and two workers.
type system struct {
	t        *testing.T
	cluster  *containers.Cluster
	js       jetstream.JetStream
	emulator *containers.Emulator
	workers  []*containers.Container
	heard    *heard
}

func start(t *testing.T, emulatorArgs ...string) *system {
	t.Helper()
	containers.Require(t)
	s := &system{t: t, cluster: containers.StartCluster(t)}
	js, err := jetstream.New(s.cluster.Connect())
	require.NoError(t, err)
	s.js, s.heard = js, listen(t, s.cluster)
	s.emulator = containers.StartEmulator(t, s.cluster.Network, []string{code}, emulatorArgs...)
	for i := range 2 {
		s.workers = append(s.workers, containers.StartWorker(
			t, s.cluster.Network, fmt.Sprintf("worker-%d", i+1), s.cluster.InnerURL(), settings, []string{code}))
	}
	s.cluster.AwaitWhole(js)
	return s
}

// publish publishes jobs, several at a time, each until the stream has
// acknowledged it. done is called after each.
func (s *system) publish(jobs []job, done func()) error {
	ctx, cancel := context.WithTimeout(context.Background(), bound)
	defer cancel()
	next := make(chan job)
	failed := make([]error, publishers)
	var group sync.WaitGroup
	for p := range publishers {
		group.Go(func() {
			for j := range next {
				failed[p] = errors.Join(failed[p], harness.Publish(ctx, s.js, j.id, j.body()))
				done()
			}
		})
	}
	for _, j := range jobs {
		next <- j
	}
	close(next)
	group.Wait()
	return errors.Join(failed...)
}

// untilDone waits until no job is left in the stream, taken or not.
func (s *system) untilDone() {
	s.t.Helper()
	var last string
	ask := func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
		defer cancel()
		stream, err := s.js.Stream(ctx, "PASSCODE")
		if err != nil {
			last = err.Error()
			return false
		}
		left := stream.CachedInfo().State.Msgs
		last = fmt.Sprint(left, " jobs")
		return left == 0
	}
	if !assert.Eventually(s.t, ask, bound, 50*time.Millisecond) {
		require.Fail(s.t, "jobs are left in the stream", last)
	}
}

// records reads the last record of every request.
func (s *system) records(ctx context.Context) map[string]passcode.Result {
	s.t.Helper()
	kv, err := s.js.KeyValue(ctx, "passcode-requests")
	require.NoError(s.t, err)
	watcher, err := kv.WatchAll(ctx)
	require.NoError(s.t, err)
	defer func() { assert.NoError(s.t, watcher.Stop()) }()
	records := map[string]passcode.Result{}
	for entry := range watcher.Updates() {
		if entry == nil {
			break // all that was there is read
		}
		var r passcode.Result
		require.NoError(s.t, json.Unmarshal(entry.Value(), &r))
		records[entry.Key()] = r
	}
	return records
}

// heard collects the final results that are announced. It listens at every node
// for itself, since a listener that moves from a node that died to another one
// misses what is announced meanwhile.
type heard struct {
	mu     sync.Mutex
	finals map[string]passcode.Status
}

func listen(t *testing.T, cluster *containers.Cluster) *heard {
	t.Helper()
	h := &heard{finals: map[string]passcode.Status{}}
	for _, node := range cluster.Nodes {
		harness.OnResult(t, node.Connect(), func(r passcode.Result) {
			h.mu.Lock()
			defer h.mu.Unlock()
			if r.Final {
				h.finals[r.RequestID] = r.Status
			}
		})
	}
	return h
}

func (h *heard) of(id string) passcode.Status {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.finals[id]
}

func TestMain(m *testing.M) { os.Exit(m.Run()) }
