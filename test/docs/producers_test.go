// Package docs runs what the documents tell their readers to run.
package docs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/test/deployed"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

const (
	bound = 2 * time.Minute // go run compiles
	phone = "+85268326366"
)

// TestProducers runs every command of docs/producers.md, in its order, as the
// producer of deploy/nats.
func TestProducers(t *testing.T) {
	t.Parallel()
	doc := read(t, "producers.md")
	dir := workDir(t)
	doc.save(t, dir)
	s := startStage(t, dir)

	// What each block must show, and how many messages it must have sent.
	expected := []struct {
		command, shows string
		sends          int
	}{
		{"nats pub -J", `"status":"sent"`, 1},
		{"worker send", `"status": "sent"`, 1},
		{"a1-again", `"duplicate":true`, 0},
		{"go run send.go", "sent", 1},
		{"node send.mjs", "sent", 1},
		{"python3 send.py", "sent", 1},
	}
	blocks := doc.of("sh")
	require.Len(t, blocks, len(expected), "a block without expectation, or the other way round")
	for i, want := range expected {
		t.Run(want.command, func(t *testing.T) { // one after the other: they go on from one another
			require.Contains(t, blocks[i].text, want.command)
			s.need(t, blocks[i].text)
			before := len(s.emulator.Sent())
			output := s.run(t, blocks[i].text)
			assert.Contains(t, output, want.shows)
			assert.NotContains(t, output, phone)
			assert.Len(t, s.emulator.Sent(), before+want.sends)
		})
	}
}

// stage is a broker, an emulator, a worker, and a reader in front of them.
type stage struct {
	dir      string
	env      []string
	emulator *harness.Emulator
}

func startStage(t *testing.T, dir string) *stage {
	t.Helper()
	bin := harness.BuildWorker(t)
	broker := deployed.Start(t)
	emulator := harness.StartEmulator(t, bin)
	provision := harness.StartWorker(t, bin, emulator.WorkerEnv(broker.As(deployed.Operator)), "provision")
	require.Zero(t, provision.Wait(bound))
	env := emulator.WorkerEnv(broker.As(deployed.Worker))
	env["PASSCODE_LIMITS__PHONE"] = `["100/1h"]` // every example sends to one phone
	w := harness.StartWorker(t, bin, env, "run")
	w.WaitFor(`"msg":"ready"`, bound)

	require.NoError(t, os.Symlink(bin, filepath.Join(dir, "worker")))
	s := &stage{dir: dir, emulator: emulator}
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "PASSCODE_") && !strings.HasPrefix(variable, "NATS_") {
			s.env = append(s.env, variable)
		}
	}
	path := dir + string(os.PathListSeparator) + os.Getenv("PATH")
	s.env = append(s.env, "PATH="+path, "XDG_CONFIG_HOME="+dir, "NATS_URL="+broker.As(deployed.Producer))
	return s
}

// run runs a block as a reader would who pastes it into a shell.
func (s *stage) run(t *testing.T, block string) string {
	t.Helper()
	output, err := s.command(block)
	require.NoError(t, err, "%s\nprinted:\n%s", block, output)
	return output
}

func (s *stage) command(script string) (string, error) {
	ctx, cancel := context.WithTimeoutCause(context.Background(), bound, fmt.Errorf("took longer than %s", bound))
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euc", script)
	cmd.Dir, cmd.Env, cmd.WaitDelay = s.dir, s.env, 5*time.Second
	output, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return string(output), err
}

// need skips the test where what the block calls is not on this machine.
func (s *stage) need(t *testing.T, block string) {
	t.Helper()
	switch {
	case strings.HasPrefix(block, "nats "):
		s.needNATS(t)
	case strings.HasPrefix(block, "node "):
		s.needNode(t)
	case strings.HasPrefix(block, "python3 "):
		if output, err := s.command("python3 -c 'import nats, nats.js'"); err != nil {
			t.Skipf("no Python with nats-py here (pip install nats-py, or name its folder in PYTHONPATH): %s", output)
		}
	}
}
