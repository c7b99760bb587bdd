package config

import (
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// files is a file system of a few files, by path.
type files map[string]string

func (f files) read(name string) ([]byte, error) {
	text, ok := f[filepath.Clean(name)]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return []byte(text), nil
}

// source reads text as worker.yaml.
func source(text string) Source {
	return Source{ReadFile: files{"worker.yaml": text}.read}
}

// set gives settings by --set, without a file.
func set(settings ...string) Source { return Source{ReadFile: files{}.read, Set: settings} }

// asYAML writes one setting as the file has it.
func asYAML(path, text string) string {
	indent, yaml := "", ""
	for name := range strings.SplitSeq(path, ".") {
		yaml += "\n" + indent + name + ":"
		indent += "  "
	}
	return yaml + " " + text
}

// withEnv adds variables to a source, given by path.
func withEnv(src Source, settings map[string]string) Source {
	for _, path := range slices.Sorted(maps.Keys(settings)) {
		src.Env = append(src.Env, EnvName(path)+"="+settings[path])
	}
	return src
}

// listed returns the problems that an error of Load holds.
func listed(t *testing.T, err error) []Problem {
	t.Helper()
	var problems *Errors
	require.ErrorAs(t, err, &problems)
	require.NotEmpty(t, problems.Problems)
	lines := strings.Split(problems.Error(), "\n")
	require.Len(t, lines, len(problems.Problems), "one problem a line:\n%s", problems)
	for _, p := range problems.Problems {
		require.NotEmpty(t, p.Key, "%s", p)
		require.NotEmpty(t, p.Problem, "%s", p)
		require.NotEmpty(t, p.Fix, "%s", p)
	}
	return problems.Problems
}

func keysOf(problems []Problem) []string {
	keys := make([]string, len(problems))
	for i, p := range problems {
		keys[i] = p.Key
	}
	return keys
}

// sendable is what has to be set before anything can be sent.
const sendable = `
aliyun:
  sign_name: Example
  templates: [{usage_type: Generic, template_code: SMS_1}]
`

// allKeys are the paths of all settings, in the order of the file.
func allKeys() []string {
	paths := make([]string, len(known.keys))
	for i, k := range known.keys {
		paths[i] = k.path
	}
	return paths
}
