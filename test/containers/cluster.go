package containers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	nodes = 3
	// wholeTimeout bounds how long a cluster may take to be whole again: an
	// election lasts up to nine seconds, connections that were cut come back when
	// TCP tries again, and a node that was away catches up.
	wholeTimeout = 90 * time.Second
)

// Cluster is three servers with JetStream, in a network of their own.
type Cluster struct {
	// Network is where other containers reach the nodes.
	Network *Network
	// Nodes are the servers, nats-1 to nats-3.
	Nodes []*NATS
	t     testing.TB
}

// StartCluster starts three servers, waits until they serve JetStream together,
// and removes them with their data when the test ends.
func StartCluster(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{t: t, Network: StartNetwork(t)}
	var routes []string
	for i := range nodes {
		routes = append(routes, "nats://"+nodeName(i)+":6222")
	}
	for i := range nodes {
		c.Nodes = append(c.Nodes, startServer(t, within(c.Network, nodeName(i)), WithArgs(
			"--name", nodeName(i), "--cluster_name", "test", "--cluster", "nats://0.0.0.0:6222",
			// Clients outside the network can't use the addresses inside it.
			"--routes", strings.Join(routes, ","), "--no_advertise",
		)))
	}
	for _, node := range c.Nodes {
		node.awaitReady()
	}
	return c
}

func nodeName(i int) string { return fmt.Sprintf("nats-%d", i+1) }

// URL names all nodes, for clients outside the network.
func (c *Cluster) URL() string {
	var urls []string
	for _, node := range c.Nodes {
		urls = append(urls, node.URL())
	}
	return strings.Join(urls, ",")
}

// InnerURL names all nodes, for containers in the network.
func (c *Cluster) InnerURL() string {
	var urls []string
	for i := range c.Nodes {
		urls = append(urls, "nats://"+nodeName(i)+":4222")
	}
	return strings.Join(urls, ",")
}

// Connect opens a connection to any node, which goes to another one when that is
// lost, or silent for two seconds. It is closed when the test ends.
func (c *Cluster) Connect(opts ...nats.Option) *nats.Conn {
	c.t.Helper()
	return connect(c.t, c.URL(), append([]nats.Option{nats.PingInterval(time.Second), nats.MaxPingsOutstanding(2)}, opts...)...)
}

// Leader returns the number of the node that leads a stream.
func (c *Cluster) Leader(js jetstream.JetStream, stream string) (leader int) {
	c.t.Helper()
	until(c.t, "a leader of "+stream, wholeTimeout, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		s, err := js.Stream(ctx, stream)
		if err != nil {
			return err
		}
		leader = slices.IndexFunc(c.Nodes, func(n *NATS) bool { return n.recipe.alias == s.CachedInfo().Cluster.Leader })
		if leader < 0 {
			return fmt.Errorf("it has none")
		}
		return nil
	})
	return leader
}

// AwaitWhole waits until every stream and consumer has a leader and all its
// replicas, none of them behind.
func (c *Cluster) AwaitWhole(js jetstream.JetStream) {
	c.t.Helper()
	until(c.t, "the cluster to be whole", wholeTimeout, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		streams := js.ListStreams(ctx)
		for info := range streams.Info() {
			if err := whole("stream "+info.Config.Name, info.Cluster); err != nil {
				return err
			}
			stream, err := js.Stream(ctx, info.Config.Name)
			if err != nil {
				return err
			}
			consumers := stream.ListConsumers(ctx)
			for info := range consumers.Info() {
				if info.Config.Durable == "" {
					continue // a watch, which lives on one node and is made anew
				}
				if err := whole("consumer "+info.Name, info.Cluster); err != nil {
					return err
				}
			}
			if err := consumers.Err(); err != nil {
				return err
			}
		}
		return streams.Err()
	})
}

func whole(what string, group *jetstream.ClusterInfo) error {
	if group == nil || group.Leader == "" {
		return fmt.Errorf("%s has no leader", what)
	}
	for _, peer := range group.Replicas {
		if peer.Offline || !peer.Current {
			return fmt.Errorf("%s: replica %s is behind", what, peer.Name)
		}
	}
	if len(group.Replicas) != nodes-1 {
		return fmt.Errorf("%s has %d replicas besides its leader", what, len(group.Replicas))
	}
	return nil
}
