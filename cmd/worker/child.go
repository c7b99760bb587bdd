package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// child is this program in a process of its own.
type child struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// startSelf starts this very program with other arguments, in a folder where no
// worker.yaml lies but one put there on purpose. What it says goes to output.
func startSelf(dir string, environ []string, output io.Writer, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the worker's own program: %w", err)
	}
	cmd := exec.Command(self, args...) //nolint:gosec,noctx // our own program; it is stopped by signal, in order
	cmd.Env = environ
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = output, output
	// Ctrl-C is for the command, which then stops its children.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	endWithParent(cmd.SysProcAttr)
	c := &child{cmd: cmd, done: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		// To the kernel the parent is the thread that started the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended stands in its log
		}
		close(c.done)
	}()
	return c, <-started
}

// ownEnviron is an environment without anybody's settings.
func ownEnviron(environ []string) []string {
	var own []string
	for _, v := range environ {
		if !strings.HasPrefix(v, "PASSCODE_") {
			own = append(own, v)
		}
	}
	return own
}

// kill ends it at once, as a crash or a lost machine does.
func (c *child) kill() {
	_ = c.cmd.Process.Kill() // it may have ended by itself
	<-c.done
}

// stop asks it to stop, and kills it where it doesn't.
func (c *child) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-c.done:
	case <-time.After(10 * time.Second):
		c.kill()
	}
}
