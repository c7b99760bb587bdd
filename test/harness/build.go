// Package harness runs the program in tests as its users run it: as a process of
// its own, with settings in the environment, judged by its output and exit
// status.
//
// Every helper fails the test by itself and leaves nothing behind: processes are
// killed and waited for when the test ends. What a process printed is searched
// for phone numbers and, where built with -race, for reports of data races.
package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// buildTimeout bounds one go build, with an empty cache on a slow machine.
const buildTimeout = 10 * time.Minute

// BuildWorker returns the path of the worker's binary, built once for each test
// process, with -race where the tests run with -race.
func BuildWorker(t testing.TB) string {
	t.Helper()
	path, err := buildWorker()
	if err != nil {
		t.Fatalf("build the worker: %v", err)
	}
	return path
}

var buildWorker = sync.OnceValues(func() (string, error) {
	name := "worker"
	if raceEnabled {
		name = "worker-race"
	}
	return Build(Target{Name: name, Package: "./cmd/worker", Race: raceEnabled})
})

// Target is a binary to build from this module.
type Target struct {
	Name    string // the file's name
	Package string // what to build; may be a package of a dependency
	Race    bool
	Static  bool // without cgo, so that the binary runs in an image FROM scratch
	// Overlay is a file for go build's flag of that name; empty: none.
	Overlay string
}

// Build builds a target and returns the binary's path, in bin/test of the
// repository. Several test processes may build the same target at a time: each
// puts its own file in place with one rename.
func Build(target Target) (path string, err error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(root, "bin", "test")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	scratch, err := os.MkdirTemp(dir, target.Name+"-")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()

	ctx, cancel := context.WithTimeoutCause(context.Background(), buildTimeout,
		fmt.Errorf("go build took longer than %v", buildTimeout))
	defer cancel()
	fresh := filepath.Join(scratch, target.Name)
	path = filepath.Join(dir, target.Name)
	// The go command links nothing where the binary is of the same source already.
	if before, err := os.ReadFile(path); err == nil {
		if err := os.WriteFile(fresh, before, 0o755); err != nil {
			return "", err
		}
	}
	// Both flags are said either way. GOFLAGS may hold -race for the tests; and
	// -trimpath would have every dependency compiled once more than the tests do.
	args := []string{"build", fmt.Sprintf("-race=%t", target.Race), fmt.Sprintf("-trimpath=%t", target.Static), "-overlay=" + target.Overlay}
	cmd := exec.CommandContext(ctx, "go", append(args, "-o", fresh, target.Package)...)
	cmd.Dir = root
	cmd.Env = os.Environ()
	if target.Static {
		cmd.Env = append(cmd.Env, "CGO_ENABLED=0", "GOOS=linux")
	}
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", target.Package, errors.Join(err, context.Cause(ctx)), output)
	}
	return path, os.Rename(fresh, path)
}

// Root returns the repository's folder, found upwards from the test's own.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod in this folder or above it")
		}
		dir = parent
	}
}
