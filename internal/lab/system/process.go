package system

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	stopWithin = 10 * time.Second // then a process is killed
	pipeDelay  = 5 * time.Second  // for which its output may stay open after its end
)

// Command is a program to start.
type Command struct {
	Path string
	Args []string
	Env  []string
	Dir  string
	Keep int       // how many bytes of its output are kept, the last ones; 0: all
	Log  io.Writer // gets all of its output; may be nil
}

// Process is a program that was started. Its methods are safe for concurrent use.
type Process struct {
	cmd    *exec.Cmd
	out    *output
	stdout *stream
	stderr *stream
	done   chan struct{}
}

// StartProcess starts a program.
func StartProcess(c Command) (*Process, error) {
	out := &output{changed: make(chan struct{}), keep: c.Keep, log: c.Log}
	p := &Process{out: out, stdout: &stream{out: out}, stderr: &stream{out: out}, done: make(chan struct{})}
	p.cmd = exec.Command(c.Path, c.Args...) //nolint:gosec,noctx // our own program; it is stopped by signal, in order
	p.cmd.Dir, p.cmd.Env = c.Dir, c.Env
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.stderr
	p.cmd.WaitDelay = pipeDelay
	// Ctrl-C is for the command, which then stops its children.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	endWithParent(p.cmd.SysProcAttr)
	started := make(chan error, 1)
	go func() {
		// To the kernel the parent is the thread that started the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // how it ended is read from ProcessState
		}
		p.out.end(p.stdout, p.stderr)
		close(p.done)
	}()
	return p, <-started
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Dir is the folder that it runs in.
func (p *Process) Dir() string { return p.cmd.Dir }

// Done is closed when the process is gone and all its output is read.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode is the exit status of a process that is gone, -1 where a signal ended it.
func (p *Process) ExitCode() int { return p.cmd.ProcessState.ExitCode() }

// Output is what the process printed so far on both streams, in whole lines.
func (p *Process) Output() string { return p.out.text(nil) }

// Stdout is the part of Output that came on standard output.
func (p *Process) Stdout() string { return p.out.text(p.stdout) }

// Stderr is the part of Output that came on standard error.
func (p *Process) Stderr() string { return p.out.text(p.stderr) }

// Signal sends a signal.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// Kill ends it at once, as a crash does.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done                 // bounded by WaitDelay
}

// Stop asks it to stop, and kills it if it doesn't.
func (p *Process) Stop() {
	_ = p.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-p.done:
	case <-time.After(stopWithin):
		p.Kill()
	}
}

// Ended is the error of a process that has ended by itself, with its last output; nil
// while it runs.
func (p *Process) Ended() error {
	select {
	case <-p.done:
	default:
		return nil
	}
	const most = 2 << 10
	said := p.Output()
	if len(said) > most {
		_, said, _ = strings.Cut(said[len(said)-most:], "\n")
	}
	name := strings.Join(p.cmd.Args[1:min(2, len(p.cmd.Args))], "")
	return fmt.Errorf("worker %s ended (%s); it last said:\n%s", name, p.cmd.ProcessState, strings.TrimSpace(said))
}

// WaitFor waits for a line that contains the parts in this order, and returns it and the
// rest of it, up to the next quotation mark.
func (p *Process) WaitFor(ctx context.Context, parts ...string) (line, behind string, err error) {
	for seen := 0; ; {
		lines, next, ended, changed := p.out.next(seen)
		for _, l := range lines {
			if behind, found := cutParts(l.text, parts); found {
				return l.text, behind, nil
			}
		}
		seen = next
		if ended {
			<-p.done
			return "", "", p.Ended()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", "", context.Cause(ctx)
		}
	}
}

func cutParts(line string, parts []string) (behind string, found bool) {
	for _, part := range parts {
		if _, line, found = strings.Cut(line, part); !found {
			return "", false
		}
	}
	behind, _, _ = strings.Cut(strings.TrimSpace(line), `"`)
	return behind, true
}

// output collects the whole lines of a process's two streams, and lets others wait for
// more.
type output struct {
	keep int
	log  io.Writer

	mu      sync.Mutex
	lines   []line
	dropped int // how many lines came before those
	size    int
	changed chan struct{} // closed and replaced at every change
	ended   bool
}

type line struct {
	from *stream
	text string
}

// stream is the end into which one of the process's streams is copied.
type stream struct {
	out  *output
	rest []byte // a line that has no end yet
}

// Write takes any piece of the stream. It never fails, which would end the process.
func (s *stream) Write(p []byte) (int, error) {
	s.out.mu.Lock()
	defer s.out.mu.Unlock()
	s.rest = append(s.rest, p...)
	for {
		text, rest, ok := bytes.Cut(s.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		s.out.add(s, string(text))
		s.rest = rest
	}
}

func (o *output) add(from *stream, text string) {
	o.lines = append(o.lines, line{from, text})
	o.size += len(text)
	for o.keep > 0 && o.size > o.keep && len(o.lines) > 1 {
		o.size -= len(o.lines[0].text)
		o.lines = o.lines[1:]
		o.dropped++
	}
	if o.log != nil {
		_, _ = io.WriteString(o.log, text+"\n") // the same
	}
	o.wake()
}

func (o *output) wake() {
	close(o.changed)
	o.changed = make(chan struct{})
}

// end ends the output; a last line needs no line break.
func (o *output) end(streams ...*stream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range streams {
		if len(s.rest) > 0 {
			o.add(s, string(s.rest))
		}
	}
	o.ended = true
	o.wake()
}

// text returns the lines of one stream, or of both where from is nil.
func (o *output) text(from *stream) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var b strings.Builder
	for _, l := range o.lines {
		if from == nil || l.from == from {
			b.WriteString(l.text + "\n")
		}
	}
	return b.String()
}

// next returns the kept lines from the nth on, the number of the line after them, whether
// the output has ended, and a channel that is closed when there is more.
func (o *output) next(n int) (lines []line, next int, ended bool, changed <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	lines = o.lines[max(n-o.dropped, 0):]
	return lines[:len(lines):len(lines)], o.dropped + len(o.lines), o.ended, o.changed
}
