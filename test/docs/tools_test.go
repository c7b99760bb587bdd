package docs

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/test/harness"
)

// natsTool is the version of the nats command that the documents are tried with.
const natsTool = "github.com/nats-io/natscli/nats@v0.5.1"

// installTimeout bounds the download and the compilation of the nats command.
const installTimeout = 10 * time.Minute

// needNATS puts the nats command on the block's path. It is no dependency of
// this module, so it is installed beside it, once.
func (s *stage) needNATS(t *testing.T) {
	t.Helper()
	bin, err := installNATS()
	if err != nil {
		t.Skipf("no nats command here, and it can't be installed: %v", err)
	}
	link := filepath.Join(s.dir, "nats")
	if _, err := os.Lstat(link); err == nil {
		return
	}
	require.NoError(t, os.Symlink(bin, link))
}

var installNATS = sync.OnceValues(func() (string, error) {
	root, err := harness.Root()
	if err != nil {
		return "", err
	}
	_, version, _ := strings.Cut(natsTool, "@")
	dir := filepath.Join(root, "bin", "test", "nats-"+version)
	bin := filepath.Join(dir, "nats")
	if _, err := os.Stat(bin); err == nil {
		return bin, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), installTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "install", natsTool)
	// GOFLAGS may hold what the tests are built with.
	cmd.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=")
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, output)
	}
	return bin, nil
})

// needNode puts the client's packages where Node looks for them. An import never
// looks at NODE_PATH, so the folder is linked into the program's own.
func (s *stage) needNode(t *testing.T) {
	t.Helper()
	folder := os.Getenv("NODE_MODULES")
	if folder == "" {
		output, err := s.command("npm root --global")
		if err != nil {
			t.Skipf("no Node with npm here: %s", output)
		}
		folder = strings.TrimSpace(output)
	}
	for _, name := range []string{"transport-node", "jetstream"} {
		if _, err := os.Stat(filepath.Join(folder, "@nats-io", name)); err != nil {
			t.Skipf("no @nats-io/%s in %s (npm install --global @nats-io/%s, or name another folder in NODE_MODULES)", name, folder, name)
		}
	}
	require.NoError(t, os.Symlink(folder, filepath.Join(s.dir, "node_modules")))
}

// TestExamplesCompile: also where an example can't be run, it can be read by its
// interpreter.
func TestExamplesCompile(t *testing.T) {
	t.Parallel()
	dir := workDir(t)
	read(t, "producers.md").save(t, dir)
	s := &stage{dir: dir, env: os.Environ()}
	for interpreter, script := range map[string]string{
		"go":      "go vet send.go",
		"node":    "node --check send.mjs",
		"python3": "python3 -m py_compile send.py",
	} {
		t.Run(interpreter, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(interpreter); err != nil {
				t.Skipf("no %s here", interpreter)
			}
			s.run(t, script)
		})
	}
}
