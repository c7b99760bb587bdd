package cli

import (
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMemoryLimit(t *testing.T) {
	t.Parallel()
	missing := filepath.Join(t.TempDir(), "missing")
	for text, want := range map[string]int64{"104857600\n": 100 << 20, "max\n": 0, "9223372036854771712\n": 0, "": 0, "x": 0} {
		file := filepath.Join(t.TempDir(), "limit")
		require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
		assert.Equal(t, want, memoryLimit([]string{missing, file, missing}), text)
	}
	assert.Zero(t, memoryLimit([]string{missing}))
}

// TestCollector changes what the whole process does, so nothing runs beside it.
func TestCollector(t *testing.T) {
	file := filepath.Join(t.TempDir(), "limit")
	require.NoError(t, os.WriteFile(file, []byte("1000000000"), 0o600))
	percent, limit := debug.SetGCPercent(100), debug.SetMemoryLimit(math.MaxInt64)
	defer func() { debug.SetGCPercent(percent); debug.SetMemoryLimit(limit) }()

	t.Setenv("GOGC", "50")
	t.Setenv("GOMEMLIMIT", "1GiB")
	tuneCollector([]string{file})
	assert.EqualValues(t, math.MaxInt64, debug.SetMemoryLimit(-1), "the environment's is Go's to read")
	assert.Equal(t, 100, debug.SetGCPercent(100))

	t.Setenv("GOGC", "")
	t.Setenv("GOMEMLIMIT", "")
	tuneCollector([]string{file})
	assert.EqualValues(t, 900_000_000, debug.SetMemoryLimit(-1))
	assert.Equal(t, garbage, debug.SetGCPercent(100))
}
