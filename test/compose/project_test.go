// Package compose tests the compose files as their users run them: brought up with
// one command, used from outside, and taken down.
package compose

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/test/containers"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

const (
	// orderTimeout bounds one compose command, and bound what is waited for.
	orderTimeout = 2 * time.Minute
	bound        = 2 * time.Minute
)

// command is how compose is called here: the older program, or the newer plugin
// of docker.
var command = sync.OnceValue(func() []string {
	for _, words := range [][]string{{"docker-compose"}, {"docker", "compose"}} {
		if exec.Command(words[0], append(words[1:], "version")...).Run() == nil {
			return words
		}
	}
	return nil
})

// project is one compose project of its own, with ports that Docker chooses.
type project struct {
	t    *testing.T
	name string
	args []string // what comes before every order
	env  []string
	dir  string
}

// newProject prepares a project of these files. Nothing runs yet.
func newProject(t *testing.T, files ...string) *project {
	t.Helper()
	containers.Require(t)
	if command() == nil {
		containers.Missing(t, "neither docker-compose nor docker compose is installed")
	}
	root, err := harness.Root()
	require.NoError(t, err)
	// The pipeline removes what bears its session's name, should this process die.
	name := strings.ToLower(fmt.Sprintf("passcode-%s-%d", os.Getenv("TESTCONTAINERS_SESSION_ID"), rand.Uint32()))
	p := &project{t: t, name: name, dir: root, args: command()[1:]}
	for _, file := range files {
		p.args = append(p.args, "--file", filepath.Join(root, file))
	}
	p.env = append(os.Environ(), "NATS_IMAGE="+containers.NATSImage(t), "WORKER_IMAGE="+containers.WorkerImage(t), "ALIYUN_ENV=", "COMPOSE_PROJECT_NAME="+name)
	for _, port := range []string{"NATS", "NATS_MONITOR", "NATS_2", "NATS_3", "EMULATOR", "WORKER_1", "WORKER_2"} {
		p.env = append(p.env, "PORT_"+port+"=") // any that is free
	}
	return p
}

// up starts everything and has it removed when the test ends, with what it
// printed searched for the values that it must not show.
func (p *project) up(forbidden ...string) {
	p.t.Helper()
	p.t.Cleanup(func() {
		log, err := p.try("logs", "--no-color")
		assert.NoError(p.t, err)
		harness.CheckOutput(p.t, log, forbidden...)
		if p.t.Failed() {
			p.t.Logf("the containers printed:\n%s", harness.Tail(log))
		}
		p.down()
	})
	p.order("up", "-d")
}

// down removes everything of the project, with the command of the README.
func (p *project) down() {
	_, err := p.run("make", "down", "COMPOSE="+strings.Join(command(), " "))
	assert.NoError(p.t, err)
	for _, list := range []string{"ps -aq", "volume ls -q", "network ls -q"} {
		left, err := p.run("docker", append(strings.Fields(list), "--filter", "label=com.docker.compose.project="+p.name)...)
		assert.NoError(p.t, err)
		assert.Empty(p.t, left, "what docker %s lists is left", list)
	}
}

// order runs one compose command and returns what it printed on standard output.
func (p *project) order(args ...string) string {
	p.t.Helper()
	out, err := p.try(args...)
	require.NoError(p.t, err)
	return out
}

func (p *project) try(args ...string) (string, error) {
	return p.run(command()[0], append(p.args[:len(p.args):len(p.args)], args...)...)
}

func (p *project) run(program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), orderTimeout, fmt.Errorf("it took longer than %v", orderTimeout))
	defer cancel()
	var complaints strings.Builder
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir, cmd.Env, cmd.Stderr = p.dir, p.env, &complaints
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", program, strings.Join(args, " "), errors.Join(err, context.Cause(ctx)), complaints.String())
	}
	return string(out), err
}

// address is where a port of a service is published.
func (p *project) address(service, port string) string {
	p.t.Helper()
	address := strings.TrimSpace(p.order("port", service, port))
	require.True(p.t, strings.HasPrefix(address, "127.0.0.1:"), "published on the loopback interface alone, not at %q", address)
	return address
}

// connect connects to NATS at these services.
func (p *project) connect(services ...string) (*nats.Conn, jetstream.JetStream) {
	p.t.Helper()
	var urls []string
	for _, service := range services {
		urls = append(urls, "nats://"+p.address(service, "4222"))
	}
	var nc *nats.Conn
	require.Eventually(p.t, func() (connected bool) {
		var err error
		nc, err = nats.Connect(strings.Join(urls, ","), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
		return err == nil
	}, bound, 50*time.Millisecond)
	p.t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	require.NoError(p.t, err)
	return nc, js
}
