package harness

import (
	"bytes"
	"strings"
	"sync"
)

// output collects what a process prints on both its streams, whole lines in the
// order in which they ended, and lets others wait for more.
type output struct {
	mu      sync.Mutex
	lines   []line
	changed chan struct{} // closed and replaced at every new line
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

func newOutput() *output { return &output{changed: make(chan struct{})} }

// Write takes any piece of the stream and never fails.
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
	close(o.changed)
	o.changed = make(chan struct{})
}

// end says that no more will come; a last line needs no line break.
func (o *output) end(streams ...*stream) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, s := range streams {
		if len(s.rest) > 0 {
			o.add(s, string(s.rest))
			s.rest = nil
		}
	}
	o.ended = true
	close(o.changed)
	o.changed = make(chan struct{})
}

// text returns the lines of one stream, or of both where from is nil.
func (o *output) text(from *stream) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var b strings.Builder
	for _, l := range o.lines {
		if from == nil || l.from == from {
			b.WriteString(l.text)
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// next returns the lines from the nth on, whether there will be more, and a
// channel that is closed when there are.
func (o *output) next(n int) (lines []line, ended bool, changed <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lines[n:len(o.lines):len(o.lines)], o.ended, o.changed
}
