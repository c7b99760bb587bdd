package harness

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/passcode-worker/passcode-worker/test/harness/leaks"
)

// pipeDelay bounds how long the output of a process that is gone may stay open.
const pipeDelay = 5 * time.Second

// tail is how much of a process's output a failing test shows.
const tail = 16 << 10

// Process is a program under test. Its methods may be called by any goroutine;
// those that fail the test, by the test's own.
type Process struct {
	t      testing.TB
	cmd    *exec.Cmd
	out    *output
	stdout *stream
	stderr *stream
	codes  []string // what must not be printed
	hushed bool
	done   chan struct{} // closed when the process is gone and its output read
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
	out := newOutput()
	p := &Process{
		t: t, out: out, stdout: &stream{out: out}, stderr: &stream{out: out},
		cmd:  exec.Command(bin, args...),
		done: make(chan struct{}),
	}
	p.cmd.Dir = t.TempDir()
	p.cmd.Env = []string{"HOME=" + p.cmd.Dir, "TMPDIR=" + p.cmd.Dir, "GOTRACEBACK=all"}
	for _, name := range []string{"GOCOVERDIR", "SYSTEMROOT"} {
		if value, ok := os.LookupEnv(name); ok {
			p.cmd.Env = append(p.cmd.Env, name+"="+value)
		}
	}
	for name, value := range env {
		p.cmd.Env = append(p.cmd.Env, name+"="+value)
	}
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.stderr
	p.cmd.WaitDelay = pipeDelay
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", bin, err)
	}
	go func() {
		// How it ended is read from ProcessState, which Wait sets.
		_ = p.cmd.Wait()
		p.out.end(p.stdout, p.stderr)
		close(p.done)
	}()
	t.Cleanup(p.cleanup)
	return p
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Output is what the process printed so far on both streams, whole lines in the
// order of their ends. Stdout and Stderr give one stream alone.
func (p *Process) Output() string { return p.out.text(nil) }

// Stdout is what the process printed so far on standard output.
func (p *Process) Stdout() string { return p.out.text(p.stdout) }

// Stderr is what the process printed so far on standard error.
func (p *Process) Stderr() string { return p.out.text(p.stderr) }

// Done is closed when the process is gone and all its output is read.
func (p *Process) Done() <-chan struct{} { return p.done }

// Forbid names passcodes and other secrets that the process must not print.
func (p *Process) Forbid(values ...string) { p.codes = append(p.codes, values...) }

// Hush keeps what the process printed out of a failing test's log. It is searched
// all the same. For tests that start hundreds.
func (p *Process) Hush() { p.hushed = true }

// Signal sends a signal. A process that is gone already fails the test, since
// then the signal did not do what the test is about.
func (p *Process) Signal(sig os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(sig); err != nil {
		p.t.Fatalf("send %v: %v\n%s", sig, err, p.lastOutput())
	}
}

// Kill ends the process as a crash would, with SIGKILL, and waits until it is
// gone. Killing one that is gone does nothing.
func (p *Process) Kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("kill: %v", err)
		return
	}
	<-p.done // bounded by WaitDelay
}

// Wait waits until the process ends by itself and returns its exit status, -1
// where a signal ended it. One that outlives the bound fails the test, with the
// stacks of its goroutines.
func (p *Process) Wait(bound time.Duration) int {
	p.t.Helper()
	timer := time.NewTimer(bound)
	defer timer.Stop()
	select {
	case <-p.done:
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
	timer := time.NewTimer(bound)
	defer timer.Stop()
	for seen := 0; ; {
		lines, ended, changed := p.out.next(seen)
		for _, l := range lines {
			if strings.Contains(l.text, text) {
				return l.text
			}
		}
		seen += len(lines)
		if ended {
			p.t.Fatalf("the process ended without a line with %q\n%s", text, p.lastOutput())
		}
		select {
		case <-changed:
		case <-timer.C:
			p.t.Fatalf("no line with %q within %v\n%s", text, bound, p.lastOutput())
		}
	}
}

// dumpStacks makes a Go program print its goroutines, and ends it.
func (p *Process) dumpStacks() {
	// Where the signal fails the process is gone, and so is the question.
	_ = p.cmd.Process.Signal(syscall.SIGQUIT)
	timer := time.NewTimer(pipeDelay)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		p.Kill()
	}
}

func (p *Process) cleanup() {
	p.Kill()
	CheckOutput(p.t, p.Output(), p.codes...)
	if p.t.Failed() && !p.hushed {
		p.t.Logf("%s printed:\n%s", strings.Join(p.cmd.Args, " "), p.lastOutput())
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
