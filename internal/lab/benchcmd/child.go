package benchcmd

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/passcode-worker/passcode-worker/internal/lab/system"
)

// benchChild is one process of the system that is measured.
type benchChild struct {
	*system.Child
	name string
	said *listener
}

// says waits until the process has said something, and returns what stands
// behind it, up to the next quotation mark or space. Of several parts each must
// follow on the one before, on one line.
func (c *benchChild) says(ctx context.Context, parts ...string) (string, error) {
	for {
		text, more := c.said.head()
		if rest, found := behind(text, parts); found {
			return rest, nil
		}
		select {
		case <-more:
		case <-c.Done:
			return "", c.ended()
		case <-ctx.Done():
			return "", fmt.Errorf("worker %s: %w", c.name, context.Cause(ctx))
		}
	}
}

func behind(text string, parts []string) (string, bool) {
	for line := range strings.Lines(text) {
		found := strings.HasSuffix(line, "\n")
		for _, part := range parts {
			var has bool
			_, line, has = strings.Cut(line, part)
			found = found && has
		}
		if found {
			rest, _, _ := strings.Cut(strings.TrimSpace(line), `"`)
			return rest, true
		}
	}
	return "", false
}

// ended is the error of a process that should still run, with its last words.
func (c *benchChild) ended() error {
	return fmt.Errorf("worker %s ended (%s); it last said:\n%s", c.name, c.Cmd.ProcessState, c.said.tail())
}

// listener keeps the first and the last of what a process says.
type listener struct {
	mu          sync.Mutex
	first, last []byte
	more        chan struct{} // closed when something comes
}

const (
	keptFirst = 64 << 10
	keptLast  = 2 << 10
)

func newListener() *listener { return &listener{more: make(chan struct{})} }

// Write never fails: a process must not end for what it says.
func (l *listener) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if room := keptFirst - len(l.first); room > 0 {
		l.first = append(l.first, p[:min(room, len(p))]...)
		close(l.more)
		l.more = make(chan struct{})
	}
	l.last = append(l.last, p...)
	if extra := len(l.last) - keptLast; extra > 0 {
		l.last = append(l.last[:0], l.last[extra:]...)
	}
	return len(p), nil
}

// head is what was said first, and a channel that is closed when more comes.
func (l *listener) head() (string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.first), l.more
}

// tail is the last lines that were said.
func (l *listener) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.last
	if len(text) == keptLast { // it begins amid a line
		_, text, _ = bytes.Cut(text, []byte("\n"))
	}
	return strings.TrimSpace(string(text))
}
