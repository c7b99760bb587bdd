package show

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// How often progress is shown, on a terminal and elsewhere.
const (
	progressDrawn = 100 * time.Millisecond
	progressTold  = 10 * time.Second
)

// Bar is a bar of this width, of which a share is full.
func Bar(share float64, width int) string {
	full := int(min(max(share, 0), 1) * float64(width))
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}

// Progress shows how many of all things are done: as a bar on a terminal,
// otherwise as a line every few seconds. The zero value shows nothing.
type Progress struct {
	w           io.Writer
	all, done   int
	terminal    bool
	began, last time.Time
}

// NewProgress shows on w how many of all things are done.
func NewProgress(w io.Writer, all int) *Progress {
	now := time.Now()
	return &Progress{w: w, all: all, terminal: IsTerminal(w), began: now, last: now}
}

// Add counts one more.
func (p *Progress) Add() {
	p.done++
	every := progressTold
	if p.terminal {
		every = progressDrawn
	}
	now := time.Now()
	if p.w == nil || now.Sub(p.last) < every {
		return
	}
	p.last = now
	if !p.terminal {
		Line(p.w, "%d of %d done", p.done, p.all)
		return
	}
	pace := float64(p.done) / now.Sub(p.began).Seconds()
	left := time.Duration(float64(p.all-p.done) / pace * float64(time.Second))
	_, _ = fmt.Fprintf(p.w, "\r  %s %d of %d, %.0f/s, %s left\x1b[K", Bar(float64(p.done)/float64(p.all), 30), p.done, p.all, pace, Span(left))
}

// Clear takes the bar away, for a line in its place; it comes again below.
func (p *Progress) Clear() {
	if p.terminal {
		_, _ = fmt.Fprint(p.w, "\r\x1b[K")
	}
}
