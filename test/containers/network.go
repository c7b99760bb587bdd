package containers

import (
	"context"
	"testing"

	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	tcnetwork "github.com/testcontainers/testcontainers-go/network"
)

// Network is a network of its own, in which containers find one another by name.
type Network struct {
	docker *testcontainers.DockerNetwork
}

// StartNetwork makes a network, which goes away when the test ends.
func StartNetwork(t testing.TB) *Network {
	t.Helper()
	Require(t)
	ctx, cancel := bounded("make a network", engineTimeout)
	defer cancel()
	n, err := tcnetwork.New(ctx)
	if err != nil {
		t.Fatalf("make a network: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := bounded("remove the network", engineTimeout)
		defer cancel()
		if err := n.Remove(ctx); err != nil {
			t.Errorf("remove the network: %v", err)
		}
	})
	return &Network{docker: n}
}

// member makes a container one of the network, under this name.
func (n *Network) member(alias string) testcontainers.ContainerCustomizer {
	return tcnetwork.WithNetwork([]string{alias}, n.docker)
}

// Disconnect cuts all links of the container: connections stay open, and nothing
// comes through, not even that they are broken. Its published port is gone too.
func (c *Container) Disconnect() {
	c.t.Helper()
	c.order("disconnect", func(ctx context.Context, id string) error {
		_, err := c.engine.NetworkDisconnect(ctx, c.recipe.network.docker.ID, client.NetworkDisconnectOptions{Container: id})
		return err
	})
}

// Reconnect mends the links. The container has its old name again, and its port.
func (c *Container) Reconnect() {
	c.t.Helper()
	c.order("reconnect", func(ctx context.Context, id string) error {
		_, err := c.engine.NetworkConnect(ctx, c.recipe.network.docker.ID, client.NetworkConnectOptions{
			Container: id, EndpointConfig: &network.EndpointSettings{Aliases: []string{c.recipe.alias}},
		})
		return err
	})
}
