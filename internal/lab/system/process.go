package system

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	stopWithin = 10 * time.Second // then a process is killed
	pipeDelay  = 5 * time.Second  // for which its output may stay open after its end
)

// Process is a program that was started. Its methods are safe for concurrent use.
type Process struct {
	cmd            *exec.Cmd
	stdout, stderr stream
	keep           int
	log            io.Writer
	done           chan struct{}

	mu      sync.Mutex
	lines   []string // whole ones, of both streams
	dropped int      // how many lines came before those
	size    int
	changed chan struct{} // closed and replaced at every line
}

// stream is the end into which one of the process's streams is copied.
type stream struct {
	p    *Process
	also io.Writer // gets it too; may be nil
	rest []byte    // a line that has no end yet
}

// StartProcess starts a program. The last bytes of its output are kept, as many as keep
// says, or all where that is 0. The log gets all of it; it may be nil. What cmd names as
// its Stdout and Stderr gets that stream too.
func StartProcess(cmd *exec.Cmd, keep int, log io.Writer) (*Process, error) {
	p := &Process{cmd: cmd, keep: keep, log: log, changed: make(chan struct{}), done: make(chan struct{})}
	p.stdout, p.stderr = stream{p: p, also: cmd.Stdout}, stream{p: p, also: cmd.Stderr}
	cmd.Stdout, cmd.Stderr = &p.stdout, &p.stderr
	cmd.WaitDelay = pipeDelay
	// Ctrl-C is for the command, which then stops its children.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	endWithParent(cmd.SysProcAttr)
	started := make(chan error, 1)
	go func() {
		// To the kernel the parent is the thread that started the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is read from ProcessState
		}
		for _, s := range []*stream{&p.stdout, &p.stderr} {
			if len(s.rest) > 0 {
				_, _ = s.Write([]byte("\n")) // the last line had no end
			}
		}
		close(p.done)
	}()
	return p, <-started
}

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the process is gone and all its output is read.
func (p *Process) Done() <-chan struct{} { return p.done }

// Output is what the process printed so far on both streams, in whole lines.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(append(slices.Clone(p.lines), ""), "\n")
}

// Kill ends it at once, as a crash does.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done                 // bounded by WaitDelay
}

// Stop asks it to stop, and kills it if it doesn't.
func (p *Process) Stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-p.done:
	case <-time.After(stopWithin):
		p.Kill()
	}
}

// Ended is the error of a process that has ended by itself, with its last output; nil while it runs.
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
		ended := p.Ended() // asked first: what has ended has printed all its lines
		p.mu.Lock()
		lines := slices.Clone(p.lines[max(seen-p.dropped, 0):])
		seen = p.dropped + len(p.lines)
		changed := p.changed
		p.mu.Unlock()
		for _, l := range lines {
			if behind, found := cutParts(l, parts); found {
				return l, behind, nil
			}
		}
		if ended != nil {
			return "", "", ended
		}
		select {
		case <-changed:
		case <-p.done:
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

// Write takes any piece of the stream. It never fails, which would end the process.
func (s *stream) Write(piece []byte) (int, error) {
	if s.also != nil {
		_, _ = s.also.Write(piece) // a failure must not end the process
	}
	s.p.mu.Lock()
	defer s.p.mu.Unlock()
	s.rest = append(s.rest, piece...)
	for {
		text, rest, ok := bytes.Cut(s.rest, []byte("\n"))
		if !ok {
			return len(piece), nil
		}
		s.p.add(string(text))
		s.rest = rest
	}
}

// add adds a line to the output, and drops the oldest where it is too long.
func (p *Process) add(line string) {
	p.lines = append(p.lines, line)
	p.size += len(line)
	for p.keep > 0 && p.size > p.keep && len(p.lines) > 1 {
		p.size -= len(p.lines[0])
		p.lines = p.lines[1:]
		p.dropped++
	}
	if p.log != nil {
		_, _ = io.WriteString(p.log, line+"\n") // the same
	}
	close(p.changed)
	p.changed = make(chan struct{})
}
