package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/test/harness"
)

// TestDemo shows every path, then goes on serving until Ctrl-C, and leaves
// nothing behind.
func TestDemo(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	demo := harness.StartWorker(t, harness.BuildWorker(t), map[string]string{"TMPDIR": temp}, "demo", "--jobs", "100", "--stay")
	demo.WaitFor("Ctrl-C ends it", 2*bound)
	out := demo.Stdout()
	_, table, ok := strings.Cut(out, "PATH ")
	require.True(t, ok, out)
	for path, status := range map[string]string{
		"sent": "sent", "duplicate": "sent", "rate limited": "rate_limited", "retried, then sent": "sent",
		"in doubt, then settled": "sent", "rejected": "rejected", "expired": "expired",
		"dead-lettered": "dead_lettered", "killed, then settled": "sent", "100 at once": "sent",
	} {
		found := false
		for line := range strings.Lines(table) {
			found = found || strings.HasPrefix(line, path+" ") && strings.Contains(line, " "+status+" ")
		}
		assert.True(t, found, "%s ends as %s", path, status)
	}
	assert.Contains(t, out, "0 of them twice")
	assert.Contains(t, out, "0 passcodes or whole numbers")
	assert.NotContains(t, out, "\x1b", "plain lines where it is no terminal")

	demo.Signal(syscall.SIGINT)
	assert.Equal(t, 0, demo.Wait(bound))
	left, err := filepath.Glob(filepath.Join(temp, "passcode-demo-*"))
	require.NoError(t, err)
	assert.Empty(t, left, "its files are gone")
}

// TestDemoInterrupted leaves at once, with nothing left behind.
func TestDemoInterrupted(t *testing.T) {
	t.Parallel()
	temp := t.TempDir()
	demo := harness.StartWorker(t, harness.BuildWorker(t), map[string]string{"TMPDIR": temp}, "demo")
	demo.WaitFor("in doubt, then settled", 2*bound)
	demo.Signal(os.Interrupt)
	assert.Equal(t, 1, demo.Wait(bound))
	left, err := filepath.Glob(filepath.Join(temp, "passcode-demo-*"))
	require.NoError(t, err)
	assert.Empty(t, left)
}
