// Package system starts the processes of a system on this machine.
package system

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

// Child is this program in a process of its own.
type Child struct {
	Cmd  *exec.Cmd
	Done chan struct{}
}

// StartSelf starts this very program with other arguments, in a folder where no
// worker.yaml lies but one put there on purpose. What it says goes to output.
func StartSelf(dir string, environ []string, output io.Writer, args ...string) (*Child, error) {
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
	c := &Child{Cmd: cmd, Done: make(chan struct{})}
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
		close(c.Done)
	}()
	return c, <-started
}

// OwnEnviron is an environment without anybody's settings.
func OwnEnviron(environ []string) []string {
	var own []string
	for _, v := range environ {
		if !strings.HasPrefix(v, "PASSCODE_") {
			own = append(own, v)
		}
	}
	return own
}

// Kill ends it at once, as a crash or a lost machine does.
func (c *Child) Kill() {
	_ = c.Cmd.Process.Kill() // it may have ended by itself
	<-c.Done
}

// Stop asks it to stop, and kills it where it doesn't.
func (c *Child) Stop() {
	_ = c.Cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	select {
	case <-c.Done:
	case <-time.After(10 * time.Second):
		c.Kill()
	}
}
