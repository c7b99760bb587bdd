package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/test/harness"
)

// lab starts a command of the lab, and tells the folder of its temporary files.
func lab(t *testing.T, args ...string) (p *harness.Process, temp string) {
	t.Helper()
	temp = t.TempDir()
	return harness.StartWorker(t, harness.BuildWorker(t), map[string]string{"TMPDIR": temp}, args...), temp
}

// TestDemo shows every path, then goes on serving until Ctrl-C, and leaves
// nothing behind.
func TestDemo(t *testing.T) {
	t.Parallel()
	demo, temp := lab(t, "demo", "--jobs", "100", "--stay")
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
	assertNoFiles(t, temp, "passcode-demo-*")
}

// assertNoFiles: nothing is left behind in a folder.
func assertNoFiles(t *testing.T, dir, pattern string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, pattern))
	require.NoError(t, err)
	assert.Empty(t, left)
}

// startBench starts a run without end, and waits until it runs.
func startBench(t *testing.T) (bench *harness.Process, temp string) {
	t.Helper()
	bench, temp = lab(t, "bench", "--rate", "20/s", "--for", "1h", "--concurrency", "4")
	bench.WaitFor(" done  ", 2*bound)
	return bench, temp
}

// TestBenchInterrupted ends with what it has: every job that was published is
// final, and nothing is left behind.
func TestBenchInterrupted(t *testing.T) {
	t.Parallel()
	bench, temp := startBench(t)
	bench.Signal(os.Interrupt)
	assert.Equal(t, 0, bench.Wait(bound))
	assert.Contains(t, bench.Stdout(), "none lost, none sent twice")
	assertNoFiles(t, temp, "*")
}

// TestInterruptedEarly: a command that has nothing to tell of yet leaves at once, with
// nothing left behind.
func TestInterruptedEarly(t *testing.T) {
	t.Parallel()
	for during, args := range map[string][]string{
		"in doubt, then settled": {"demo"},
		"warm it up":             {"bench", "--rate", "20/s", "--for", "1h", "--latency", "2s"},
	} {
		t.Run(args[0], func(t *testing.T) {
			t.Parallel()
			p, temp := lab(t, args...)
			p.WaitFor(during, 2*bound)
			p.Signal(os.Interrupt)
			assert.Equal(t, 1, p.Wait(bound))
			if args[0] == "bench" {
				assert.Contains(t, p.Stderr(), "worker: stopped")
				assert.Empty(t, p.Stdout())
			}
			assertNoFiles(t, temp, "*")
		})
	}
}

// TestBenchKilled takes its processes with it.
func TestBenchKilled(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux ends a process with its parent")
	}
	bench, _ := startBench(t)
	children := childrenOf(t, bench.PID())
	require.Len(t, children, 3, "the broker, the emulator and a worker")
	bench.Kill()
	require.Eventually(t, func() bool { return !slices.ContainsFunc(children, running) }, bound, 10*time.Millisecond)
}

// TestBenchWhoseWorkerDies says so, with the worker's last words, and tells of
// the jobs that it left.
func TestBenchWhoseWorkerDies(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("a process's children are read from /proc")
	}
	bench, _ := startBench(t)
	for _, pid := range childrenOf(t, bench.PID()) {
		arguments, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		require.NoError(t, err)
		if strings.Contains(string(arguments), "\x00run") {
			require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		}
	}
	assert.Equal(t, 1, bench.Wait(bound))
	assert.Contains(t, bench.Stderr(), "the run broke off: worker run ended (signal: killed)")
	assert.Contains(t, bench.Stderr(), `"msg":"request sent"`)
	assert.Contains(t, bench.Stdout(), "have no final result")
}

// childrenOf lists the processes that a process started.
func childrenOf(t *testing.T, pid int) []int {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	require.NoError(t, err)
	var children []int
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, field := range strings.Fields(string(text)) {
			var child int
			_, err := fmt.Sscan(field, &child)
			require.NoError(t, err)
			children = append(children, child)
		}
	}
	return children
}

// running reports whether a process is there and no zombie.
func running(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}
