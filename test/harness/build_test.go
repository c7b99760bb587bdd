package harness

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBuildPutsABinaryInPlace(t *testing.T) {
	t.Parallel()
	target := Target{Name: "leakscan", Package: "./test/harness/leakscan", Static: true}
	path, err := Build(target)
	require.NoError(t, err)
	again, err := Build(target)
	require.NoError(t, err)
	assert.Equal(t, path, again)

	p := StartWorker(t, path, nil, "-h")
	assert.Equal(t, 2, p.Wait(bound))
	assert.Contains(t, p.Stderr(), "-tests")

	left, err := filepath.Glob(path + "-*")
	require.NoError(t, err)
	assert.Empty(t, left, "no scratch folder stays behind")
}

func TestBuildTellsWhatTheCompilerSaid(t *testing.T) {
	t.Parallel()
	_, err := Build(Target{Name: "missing", Package: "./cmd/missing"})
	require.ErrorContains(t, err, "go build ./cmd/missing")
	require.ErrorContains(t, err, "directory not found")
}
