package docs

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/passcode"
	"github.com/passcode-worker/passcode-worker/test/harness"
)

// document is a document and its fenced blocks.
type document struct {
	text   string
	blocks []block
}

type block struct{ language, text string }

var fenced = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")

// named finds the file name in the first line of a program.
var named = regexp.MustCompile(`^(?://|#) (\w+\.\w+)\n`)

// file reads a file of this repository.
func file(t *testing.T, path ...string) string {
	t.Helper()
	root, err := harness.Root()
	require.NoError(t, err)
	data, err := os.ReadFile(filepath.Join(root, filepath.Join(path...)))
	require.NoError(t, err)
	return string(data)
}

func read(t *testing.T, name string) document {
	t.Helper()
	d := document{text: file(t, "docs", name)}
	for _, m := range fenced.FindAllStringSubmatch(d.text, -1) {
		d.blocks = append(d.blocks, block{language: m[1], text: m[2]})
	}
	return d
}

// of returns the blocks in a language, in their order.
func (d document) of(language string) []block {
	var found []block
	for _, b := range d.blocks {
		if b.language == language {
			found = append(found, b)
		}
	}
	return found
}

// save writes each program of the document under its name.
func (d document) save(t *testing.T, dir string) {
	t.Helper()
	for _, b := range d.blocks {
		if m := named.FindStringSubmatch(b.text); m != nil {
			require.NoError(t, os.WriteFile(filepath.Join(dir, m[1]), []byte(b.text), 0o600))
		}
	}
}

// workDir is a folder inside of this module, so that a Go program in it finds the
// packages. The go command passes over folders whose names begin with "_".
func workDir(t *testing.T) string {
	t.Helper()
	root, err := harness.Root()
	require.NoError(t, err)
	parent := filepath.Join(root, "bin", "test")
	require.NoError(t, os.MkdirAll(parent, 0o755))
	dir, err := os.MkdirTemp(parent, "_docs-") //nolint:usetesting // inside of this module
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, os.RemoveAll(dir)) })
	return dir
}

// TestProducersText holds what the document says against the code.
func TestProducersText(t *testing.T) {
	t.Parallel()
	d := read(t, "producers.md")
	objects := d.of("json")
	require.Len(t, objects, 2)

	_, err := passcode.Decode([]byte(objects[0].text))
	require.NoError(t, err, "the job")
	strict := json.NewDecoder(bytes.NewReader([]byte(objects[1].text)))
	strict.DisallowUnknownFields()
	var result passcode.Result
	require.NoError(t, strict.Decode(&result), "the result")
	assert.Equal(t, passcode.StatusSent, result.Status)
	assert.True(t, result.Final)
	assert.NotContains(t, objects[1].text, phone)

	for _, status := range passcode.Statuses() {
		final := map[bool]string{true: "yes", false: "no"}[status.Final()]
		assert.Contains(t, d.text, "\n| `"+string(status)+"` | "+final+" |")
	}
	job := reflect.TypeFor[passcode.Job]()
	assert.Equal(t, job.NumField(), strings.Count(table(t, d.text, "| member |"), "\n| `"), "a row for each member of a job")
}

// table is the table that begins with these words.
func table(t *testing.T, text, begins string) string {
	t.Helper()
	_, rest, found := strings.Cut(text, begins)
	require.True(t, found)
	rows, _, _ := strings.Cut(rest, "\n\n")
	return rows
}
