// Package defects holds defects that were never made: small changes of the program
// each of which takes one of its guarantees away, and the tests that notice. A suite
// that lets one pass would let somebody make it.
//
// A defect is a text in a source file and what stands in its place. It is laid over
// the source while something is built or tested (go build -overlay), so the source
// itself stays as it is.
package defects

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Defect is one change for the worse.
type Defect struct {
	// Name says what is done wrong.
	Name string
	// File is the source file, from the repository's folder.
	File string
	// Old stands in File exactly once, and New in its place makes the defect.
	Old, New string
	// Breaks is the guarantee that is gone.
	Breaks string
	// CaughtBy are the tests that must fail.
	CaughtBy []Test
	// Also are tests that were seen to fail, and take too long to be run for each
	// defect: most start whole programs.
	Also []Test
}

// Test is a test, or a part of one as in "TestX/part".
type Test struct{ Package, Name string }

// Named returns the defect of that name.
func Named(name string) (Defect, bool) {
	for _, d := range All() {
		if d.Name == name {
			return d, true
		}
	}
	return Defect{}, false
}

// Overlay writes the changed file and an overlay file for it to dir, and returns the
// path of the latter, for the -overlay of go build and go test. root is the
// repository's folder. It fails where the source has changed so that the defect
// can't be made any more.
func (d Defect) Overlay(root, dir string) (path string, err error) {
	file, err := filepath.Abs(filepath.Join(root, filepath.FromSlash(d.File)))
	if err != nil {
		return "", err
	}
	source, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("defect %q: %w", d.Name, err)
	}
	if n := bytes.Count(source, []byte(d.Old)); n != 1 {
		return "", fmt.Errorf("defect %q: its text stands %d times in %s, not once: "+
			"the source has changed, and the defect must be written anew in test/defects", d.Name, n, d.File)
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	defective := filepath.Join(dir, "defective.go")
	if err := os.WriteFile(defective, bytes.Replace(source, []byte(d.Old), []byte(d.New), 1), 0o600); err != nil {
		return "", err
	}
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {file: defective}})
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "overlay.json")
	return path, os.WriteFile(path, overlay, 0o600)
}

// Table is the list as documentation shows it.
func Table() string {
	var b strings.Builder
	b.WriteString("| defect | where | what it breaks | caught by |\n|---|---|---|---|\n")
	for _, d := range All() {
		caught := tests(d.CaughtBy)
		if len(d.Also) > 0 {
			caught += "; also " + tests(d.Also)
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s |\n", d.Name, d.File, d.Breaks, caught)
	}
	return b.String()
}

func tests(list []Test) string {
	var words []string
	for _, t := range list {
		words = append(words, fmt.Sprintf("`%s` %s", strings.TrimPrefix(t.Package, "./"), strings.ReplaceAll(t.Name, "_", " ")))
	}
	return strings.Join(words, ", ")
}
