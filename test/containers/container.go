package containers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/passcode-worker/passcode-worker/test/brokertest"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

const (
	// readyTimeout bounds how long a program may take to be ready for work, and
	// engineTimeout one order to the engine.
	readyTimeout  = 30 * time.Second
	engineTimeout = 30 * time.Second
	// portTries is how often another free port is tried, as somebody else may
	// take one between our asking and Docker's publishing.
	portTries = 10
)

// Container is a program in a container. When it is killed and started again it
// keeps its data and its port on the loopback interface.
type Container struct {
	t         testing.TB
	recipe    recipe
	container *testcontainers.DockerContainer
	engine    client.APIClient
	port      int // 0: none is published
}

// recipe is what a container is made from.
type recipe struct {
	what  string // for people
	image string
	args  []string
	env   map[string]string
	port  string // the one to publish, such as 4222/tcp; empty: none
	says  string // what the program prints once it has started
	// network is where it is reached under the name alias; nil: the engine's own.
	network *Network
	alias   string
}

// start starts a container, waits until the program says that it has started,
// and removes it when the test ends.
func start(t testing.TB, r recipe) *Container {
	t.Helper()
	ctx, cancel := bounded("start "+r.what, engineTimeout+readyTimeout)
	defer cancel()
	for try := 1; ; try++ {
		c := &Container{t: t, recipe: r}
		err := c.run(ctx)
		if err == nil {
			t.Cleanup(c.remove)
			return c
		}
		taken := strings.Contains(err.Error(), "port is already allocated") || strings.Contains(err.Error(), "address already in use")
		if try == portTries || !taken {
			t.Fatalf("start %s from %s: %v", r.what, r.image, err)
		}
	}
}

// run makes one try, with a port that is free just now.
func (c *Container) run(ctx context.Context) error {
	p, err := provider()
	if err != nil {
		return err
	}
	c.engine = p.Client()
	options := []testcontainers.ContainerCustomizer{
		testcontainers.WithCmd(c.recipe.args...),
		testcontainers.WithEnv(c.recipe.env),
		testcontainers.WithWaitStrategy(wait.ForLog(c.recipe.says).WithStartupTimeout(readyTimeout)),
	}
	if c.recipe.port != "" {
		// Docker would choose another one at every start of a container, and clients
		// would look for it in vain.
		c.port = brokertest.FreePort(c.t)
		published := network.PortMap{network.MustParsePort(c.recipe.port): {{
			HostIP: netip.MustParseAddr("127.0.0.1"), HostPort: strconv.Itoa(c.port),
		}}}
		options = append(options, testcontainers.WithExposedPorts(c.recipe.port),
			testcontainers.WithHostConfigModifier(func(config *container.HostConfig) { config.PortBindings = published }))
	}
	if c.recipe.network != nil {
		options = append(options, c.recipe.network.member(c.recipe.alias))
	}
	c.container, err = testcontainers.Run(ctx, c.recipe.image, options...)
	if err != nil && c.container != nil {
		err = errors.Join(err, testcontainers.TerminateContainer(c.container))
	}
	return err
}

// Kill ends the program as a crash would, with SIGKILL, and waits until it is
// gone. What it had not yet synced to disk is still in the page cache.
func (c *Container) Kill() {
	c.t.Helper()
	c.order("kill", func(ctx context.Context, id string) error {
		waiting := c.engine.ContainerWait(ctx, id, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
		if _, err := c.engine.ContainerKill(ctx, id, client.ContainerKillOptions{}); err != nil {
			return err
		}
		select {
		case <-waiting.Result:
			return nil
		case err := <-waiting.Error:
			return err
		}
	})
}

// Start starts a container again that was killed, with its data and on the same
// port. It doesn't wait for the program in it.
func (c *Container) Start() {
	c.t.Helper()
	c.order("start", func(ctx context.Context, _ string) error { return c.container.Start(ctx) })
}

// Stop ends the program in order, with SIGTERM, and returns its exit status.
func (c *Container) Stop(within time.Duration) (status int) {
	c.t.Helper()
	ctx, cancel := bounded("stop "+c.recipe.what, within+engineTimeout)
	defer cancel()
	err := c.container.Stop(ctx, &within)
	if err == nil {
		state, inspectErr := c.container.State(ctx)
		if err = inspectErr; err == nil {
			return state.ExitCode
		}
	}
	c.t.Fatalf("stop %s: %v", c.recipe.what, errors.Join(err, context.Cause(ctx)))
	return -1
}

// Pause freezes the program: its connections stay open and nothing answers, as
// when a network swallows packets. Unpause lets it go on.
func (c *Container) Pause() {
	c.t.Helper()
	c.order("pause", func(ctx context.Context, id string) error {
		_, err := c.engine.ContainerPause(ctx, id, client.ContainerPauseOptions{})
		return err
	})
}

// Unpause lets a paused program go on.
func (c *Container) Unpause() {
	c.t.Helper()
	c.order("unpause", func(ctx context.Context, id string) error {
		_, err := c.engine.ContainerUnpause(ctx, id, client.ContainerUnpauseOptions{})
		return err
	})
}

func (c *Container) order(what string, do func(ctx context.Context, id string) error) {
	c.t.Helper()
	what += " " + c.recipe.what
	ctx, cancel := bounded(what, engineTimeout)
	defer cancel()
	if err := do(ctx, c.container.GetContainerID()); err != nil {
		c.t.Fatalf("%s: %v", what, errors.Join(err, context.Cause(ctx)))
	}
}

// remove takes the container away, with its data; a failed test shows its log.
func (c *Container) remove() {
	if c.t.Failed() {
		c.t.Logf("%s printed:\n%s", c.recipe.what, harness.Tail(c.Log()))
	}
	if err := testcontainers.TerminateContainer(c.container, testcontainers.StopTimeout(0)); err != nil {
		c.t.Errorf("remove %s: %v", c.recipe.what, err)
	}
}

// Log is what the program printed so far, over all its starts.
func (c *Container) Log() string {
	ctx, cancel := bounded("read the log", engineTimeout)
	defer cancel()
	logs, err := c.container.Logs(ctx)
	if err != nil {
		return fmt.Sprintf("(no log: %v)", err)
	}
	defer func() { _ = logs.Close() }() // it was only read
	text, err := io.ReadAll(logs)
	if err != nil {
		return fmt.Sprintf("%s(log cut short: %v)", text, err)
	}
	return string(text)
}

func bounded(what string, bound time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(context.Background(), bound, fmt.Errorf("%s took longer than %v", what, bound))
}

// until asks again and again until what is asked for holds, and fails the test
// where it doesn't within the bound.
func until(t testing.TB, what string, bound time.Duration, holds func(context.Context) error) {
	t.Helper()
	ctx, cancel := bounded("wait for "+what, bound)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := holds(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%v: %v", context.Cause(ctx), err)
		case <-tick.C:
		}
	}
}
