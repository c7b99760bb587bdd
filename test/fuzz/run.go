package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// plan says how targets are run.
type plan struct {
	dir       string
	time      time.Duration
	jobs      int
	parallel  int
	keepGoing bool
}

// stopGrace is what a target has to end after it was told to: go test writes down
// the input that it has in hand.
const stopGrace = 20 * time.Second

// run fuzzes the targets, in their order and as many at once as the plan says, and
// reports on each. Unless it is to keep going, the first that fails stops those that run and
// those to come.
func (p plan) run(ctx context.Context, targets []target, progress io.Writer) []report {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	reports := make([]report, len(targets))
	next := make(chan int)
	go func() {
		defer close(next)
		for i := range targets {
			next <- i
		}
	}()

	var (
		wait   sync.WaitGroup
		screen sync.Mutex
	)
	for range p.jobs {
		wait.Go(func() {
			for i := range next {
				reports[i] = p.one(ctx, targets[i])
				if reports[i].result == failed && !p.keepGoing {
					stop()
				}
				screen.Lock()
				reports[i].tell(progress)
				screen.Unlock()
			}
		})
	}
	wait.Wait()
	return reports
}

// shrinking is how many times an input that finds something is made smaller. By
// default each may take a minute, in which nothing new is tried: with settings of
// thousands of bytes that was all the time there is.
const shrinking = "200x"

// one fuzzes one target and reads what go test said.
func (p plan) one(ctx context.Context, target target) report {
	if ctx.Err() != nil {
		return report{target: target, result: skipped}
	}
	// The tests of the package are not run, only the target's own seeds. No
	// timeout: go test's does not count for fuzzing, and the time is given.
	cmd := exec.CommandContext(ctx, "go", "test", "-run=^$", "-fuzz=^"+target.name+"$",
		"-fuzztime="+p.time.String(), "-fuzzminimizetime="+shrinking, fmt.Sprintf("-parallel=%d", p.parallel), ".")
	cmd.Dir = target.dir
	// A group of its own, so that an interrupt reaches the go command, the test
	// and its workers alike, and only when it is sent from here.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = stopGrace
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output

	err := cmd.Run()
	report := read(target, output.String(), err == nil)
	if report.result == failed && report.input == "" && ctx.Err() != nil {
		report.result = skipped // it was told to end before its time
	}
	if cmd.Process != nil {
		// What outlived the interrupt: the group has no other members.
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	return report
}
