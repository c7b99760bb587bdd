package containers_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/test/containers"
)

// TestClusterOutlivesItsLeader: killed, and cut off from the others, which elect
// another one. What was acknowledged is there, and the node comes back whole.
func TestClusterOutlivesItsLeader(t *testing.T) {
	t.Parallel()
	cluster := containers.StartCluster(t)
	nc := cluster.Connect()
	js, err := jetstream.New(nc)
	require.NoError(t, err)
	_, err = js.CreateStream(bounded(t), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, Replicas: 3})
	require.NoError(t, err)
	var stored uint64
	publish := func() {
		t.Helper()
		stored++
		require.Eventually(t, func() bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			ack, err := js.Publish(ctx, "s", []byte("x"), jetstream.WithExpectLastSequence(stored-1))
			return err == nil && ack.Sequence == stored || stored == lastSequence(ctx, js)
		}, time.Minute, 20*time.Millisecond)
	}
	publish()
	cluster.AwaitWhole(js)

	leader := cluster.Leader(js, "S")
	cluster.Nodes[leader].Kill()
	publish()
	assert.NotEqual(t, leader, cluster.Leader(js, "S"))
	cluster.Nodes[leader].Restart()
	cluster.AwaitWhole(js)

	leader = cluster.Leader(js, "S")
	cut := cluster.Nodes[leader]
	before := cut.Connect() // a client that is outside, and knows this node alone
	cut.Disconnect()
	publish()
	assert.NotEqual(t, leader, cluster.Leader(js, "S"))
	cut.Reconnect()
	cluster.AwaitWhole(js)
	require.Eventually(t, before.IsConnected, time.Minute, 20*time.Millisecond, "it is where it was")
	publish()
	assert.Equal(t, stored, lastSequence(bounded(t), js))
}

func lastSequence(ctx context.Context, js jetstream.JetStream) uint64 {
	stream, err := js.Stream(ctx, "S")
	if err != nil {
		return 0
	}
	return stream.CachedInfo().State.LastSeq
}
