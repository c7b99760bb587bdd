package harness

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/passcode-worker/passcode-worker/internal/lab/system"
	"github.com/passcode-worker/passcode-worker/test/fake"
	"github.com/passcode-worker/passcode-worker/test/harness/leaks"
)

// stackDelay bounds how long a process may take to print its stacks.
const stackDelay = 5 * time.Second

// tail is how much of a process's output a failing test shows.
const tail = 16 << 10

// Process is a program under test. Its methods may be called by any goroutine;
// those that fail the test, by the test's own.
type Process struct {
	*system.Process
	cmd    *exec.Cmd
	stdout fake.Buffer
	stderr fake.Buffer
	t      testing.TB
	name   string
	codes  []string // what must not be printed
	hushed bool
}

// StartWorker starts a binary with the given settings and arguments, in a
// folder of its own. Its environment holds env and little else, so that neither
// the settings nor the credentials of whoever runs the tests reach it.
//
// When the test ends the process is killed, if it still runs, and its output is
// searched: the test fails where a whole phone number, a value named to
// [Process.Forbid] or the report of a data race stands in it.
func StartWorker(t testing.TB, bin string, env map[string]string, args ...string) *Process {
	t.Helper()
	dir := t.TempDir()
	environ := []string{"HOME=" + dir, "TMPDIR=" + dir, "GOTRACEBACK=all"}
	for _, name := range []string{"GOCOVERDIR", "SYSTEMROOT"} {
		if value, ok := os.LookupEnv(name); ok {
			environ = append(environ, name+"="+value)
		}
	}
	for name, value := range env {
		environ = append(environ, name+"="+value)
	}
	cmd := exec.Command(bin, args...)
	cmd.Env, cmd.Dir = environ, dir
	p := &Process{cmd: cmd, t: t, name: bin + " " + strings.Join(args, " ")}
	cmd.Stdout, cmd.Stderr = &p.stdout, &p.stderr
	var err error
	if p.Process, err = system.StartProcess(cmd, 0, nil); err != nil {
		t.Fatalf("start %s: %v", bin, err)
	}
	t.Cleanup(p.cleanup)
	return p
}

// Forbid names passcodes and other secrets that the process must not print.
func (p *Process) Forbid(values ...string) { p.codes = append(p.codes, values...) }

// Hush keeps what the process printed out of a failing test's log. It is searched
// all the same. For tests that start hundreds.
func (p *Process) Hush() { p.hushed = true }

// Stdout is what the process printed so far on standard output.
func (p *Process) Stdout() string { return p.stdout.String() }

// Stderr is what the process printed so far on standard error.
func (p *Process) Stderr() string { return p.stderr.String() }

// Signal sends a signal. A process that is gone already fails the test, since
// then the signal did not do what the test is about.
func (p *Process) Signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("send %v: %v\n%s", sig, err, p.lastOutput())
	}
}

// Wait waits until the process ends by itself and returns its exit status, -1
// where a signal ended it. One that outlives the bound fails the test, with the
// stacks of its goroutines.
func (p *Process) Wait(bound time.Duration) int {
	p.t.Helper()
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case <-p.Done():
		return p.cmd.ProcessState.ExitCode()
	case <-timer.C:
		p.dumpStacks()
		p.t.Fatalf("the process still runs after %v\n%s", bound, p.lastOutput())
		return -1
	}
}

// WaitFor waits for a line that contains text, on either stream, and returns the
// first. The test fails where the process ends without it or the bound passes.
func (p *Process) WaitFor(text string, bound time.Duration) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeoutCause(context.Background(), bound, fmt.Errorf("no line with %q within %v", text, bound))
	defer cancel()
	line, _, err := p.Process.WaitFor(ctx, text)
	switch {
	case ctx.Err() != nil:
		p.t.Fatalf("%v\n%s", err, p.lastOutput())
	case err != nil:
		p.t.Fatalf("the process ended without a line with %q\n%s", text, p.lastOutput())
	}
	return line
}

// dumpStacks makes a Go program print its goroutines, and ends it.
func (p *Process) dumpStacks() {
	_ = p.cmd.Process.Signal(syscall.SIGQUIT) // where that fails the process is gone
	select {
	case <-p.Done():
	case <-time.After(stackDelay):
		p.Kill()
	}
}

func (p *Process) cleanup() {
	p.Kill()
	CheckOutput(p.t, p.Output(), p.codes...)
	if p.t.Failed() && !p.hushed {
		p.t.Logf("%s printed:\n%s", p.name, p.lastOutput())
	}
}

func (p *Process) lastOutput() string { return Tail(p.Output()) }

// CheckOutput fails the test where a whole phone number, one of the values or the
// report of a data race stands in what a program printed.
func CheckOutput(t testing.TB, text string, forbidden ...string) {
	t.Helper()
	if strings.Contains(text, "WARNING: DATA RACE") {
		t.Errorf("the process reported a data race")
	}
	found, err := leaks.Find(strings.NewReader(text), forbidden)
	if err != nil {
		t.Errorf("search the output: %v", err)
	}
	for _, leak := range found {
		t.Errorf("the output shows what it must not: %s", leak)
	}
}

// Tail is the end of a program's output, as much as a failing test shows.
func Tail(text string) string {
	if len(text) > tail {
		return "…" + text[len(text)-tail:]
	}
	return text
}
