package main

import (
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"
)

// result is how a target ended.
type result string

const (
	passed  result = "ok"
	failed  result = "FAILED"
	skipped result = "stopped" // another target failed, or somebody interrupted
)

// report is what is known of one target's run.
type report struct {
	target
	result result
	took   time.Duration // of the fuzzing, without building
	execs  string        // as go test counts; empty where it never said
	found  string        // new inputs that reach code that none reached before
	input  string        // where the input that failed is kept
	output string        // what go test said, where the target failed
}

var (
	progressLine = regexp.MustCompile(`elapsed: (\S+), execs: (\d+) \(\d+/sec\), new interesting: (\d+)`)
	// A new input that fails is written down; a seed that fails has a file already,
	// or stands in the code under the name seed#N.
	writtenLine = regexp.MustCompile(`Failing input written to (\S+)`)
	seedLine    = regexp.MustCompile(`(?m)^\s*(?:--- FAIL: \w+/|failure while testing seed corpus entry: \w+/)(\S+)`)
	// The end of the time itself, reported as a failure: a race in Go's package
	// internal/fuzz, golang/go#75804, mended in Go 1.27.
	timeIsUp = regexp.MustCompile(`(?m)^--- FAIL: \w+ \([\d.]+s\)\n\s+context deadline exceeded\n(?:=== .*\n)*FAIL$`)
)

// read makes a report of what go test said.
func read(target target, output string, success bool) report {
	r := report{target: target, result: passed}
	if lines := progressLine.FindAllStringSubmatch(output, -1); lines != nil {
		last := lines[len(lines)-1]
		r.took, _ = time.ParseDuration(last[1]) // as Go prints durations
		r.execs, r.found = last[2], last[3]
	}
	written, seed := writtenLine.FindStringSubmatch(output), seedLine.FindStringSubmatch(output)
	switch {
	case success:
		return r
	case written != nil:
		r.input = filepath.Join(target.dir, written[1])
	case seed != nil && strings.HasPrefix(seed[1], "seed#"):
		r.input = "the target's own " + seed[1]
	case seed != nil:
		r.input = filepath.Join(target.dir, "testdata", "fuzz", target.name, seed[1])
	case timeIsUp.MatchString(output):
		return r
	}
	r.result, r.output = failed, output
	return r
}

// tell says how a target ended, at once: a long run is watched.
func (r report) tell(w io.Writer) {
	if r.result == failed {
		fmt.Fprintln(w, strings.TrimSpace(r.output))
	}
	fmt.Fprintf(w, "%s  %-7s %s\n", time.Now().UTC().Format(time.TimeOnly), r.result, r.target)
}

// table is the summary: a line a target, and what to do about the one that failed.
func table(w io.Writer, reports []report) {
	fmt.Fprintln(w)
	columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(columns, "TARGET\tTIME\tEXECS\tNEW\tEND")
	for _, r := range reports {
		fmt.Fprintf(columns, "%s\t%s\t%s\t%s\t%s\n", r.target, r.took.Round(time.Second), or(r.execs, "-"), or(r.found, "-"), r.result)
	}
	_ = columns.Flush() // to a terminal or a pipe, like all output here
	for _, r := range reports {
		if r.result != failed {
			continue
		}
		fmt.Fprintf(w, "\n%s failed", r.target)
		if r.input != "" {
			fmt.Fprintf(w, "; the input: %s", r.input)
		}
		fmt.Fprintf(w, "\nagain: go test -run='^%s$' ./%s\n", r.name, r.pkg)
	}
}

func or(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}
