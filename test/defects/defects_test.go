package defects_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/test/defects"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

const (
	// bound is for the tests of one defect, built with an empty cache.
	bound = 10 * time.Minute
)

// TestEveryDefectIsCaught makes each defect, one at a time, and has the tests named
// for it fail; each of them, as a test and not for lack of a build. That each can be
// made is seen at once; the rest takes minutes.
func TestEveryDefectIsCaught(t *testing.T) {
	t.Parallel()
	root, err := harness.Root()
	require.NoError(t, err)
	for _, d := range defects.All() {
		t.Run(d.Name, func(t *testing.T) {
			overlay, err := d.Overlay(root, t.TempDir())
			require.NoError(t, err)
			require.NotEmpty(t, d.CaughtBy)
			t.Parallel()
			harness.Thorough(t)
			for pkg, names := range byPackage(d.CaughtBy) {
				output := failing(t, root, overlay, pkg, names)
				for _, name := range names {
					assert.Regexp(t, `(?m)^\s*--- FAIL: `+regexp.QuoteMeta(name)+` `, output, "the defect goes unnoticed by %s %s", pkg, name)
				}
			}
		})
	}
}

func byPackage(tests []defects.Test) map[string][]string {
	names := map[string][]string{}
	for _, test := range tests {
		names[test.Package] = append(names[test.Package], test.Name)
	}
	return names
}

// failing runs tests over the defect and returns what they print.
func failing(t *testing.T, root, overlay, pkg string, names []string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	var patterns []string
	for _, name := range names {
		patterns = append(patterns, "^"+strings.ReplaceAll(name, "/", "$/^")+"$")
	}
	// Every flag is said that GOFLAGS may hold for the tests around this one.
	cmd := exec.CommandContext(ctx, "go", "test", "-race=false", "-v", "-count=1", "-vet=off", "-ldflags=-s -w",
		"-overlay", overlay, "-run", strings.Join(patterns, "|"), pkg)
	cmd.Dir = root
	output, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	require.NotContains(t, string(output), "[build failed]", "the defect does not compile: it must be written anew\n%s", output)
	require.ErrorAs(t, err, &exit, "the defect goes unnoticed by %s %v\n%s", pkg, names, tail(output))
	return string(output)
}

func tail(output []byte) string {
	lines := strings.Split(string(output), "\n")
	return strings.Join(lines[max(len(lines)-40, 0):], "\n")
}

func TestDefectsAreTold(t *testing.T) {
	t.Parallel()
	var names []string
	for _, d := range defects.All() {
		names = append(names, d.Name)
		found, ok := defects.Named(d.Name)
		require.True(t, ok)
		assert.Equal(t, d, found)
	}
	assert.Len(t, slices.Compact(slices.Sorted(slices.Values(names))), len(names), "one name, one defect")
	_, ok := defects.Named("no such defect")
	assert.False(t, ok)
}

// TestADefectThatCanNotBeMade: where the source changes, the defect has to follow.
func TestADefectThatCanNotBeMade(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	d := defects.Defect{Name: "x", File: "a.go", Old: "old", New: "new"}
	_, err := d.Overlay(root, t.TempDir())
	require.ErrorIs(t, err, os.ErrNotExist)
	for source, want := range map[string]string{"": "0 times", "old old": "2 times"} {
		require.NoError(t, os.WriteFile(filepath.Join(root, "a.go"), []byte(source), 0o600))
		_, err := d.Overlay(root, t.TempDir())
		require.ErrorContains(t, err, want)
	}
}

// TestTable holds the documentation to the list. UPDATE_DOCS=1 writes it.
func TestTable(t *testing.T) {
	t.Parallel()
	const begin, end = "<!-- defects:begin -->\n", "<!-- defects:end -->"
	root, err := harness.Root()
	require.NoError(t, err)
	file := filepath.Join(root, "docs", "guarantees.md")
	page, err := os.ReadFile(file)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(page), begin)
	require.True(t, ok, "no %s", begin)
	table, after, ok := strings.Cut(rest, end)
	require.True(t, ok, "no %s", end)
	if os.Getenv("UPDATE_DOCS") != "" {
		require.NoError(t, os.WriteFile(file, []byte(before+begin+defects.Table()+end+after), 0o644))
		return
	}
	assert.Equal(t, defects.Table(), table, "run UPDATE_DOCS=1 go test ./test/defects -run TestTable")
}
