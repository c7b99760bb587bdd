package docs

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/test/harness"
)

// TestStructure: the layout is as docs/architecture.md has it.
func TestStructure(t *testing.T) {
	t.Parallel()
	root, err := harness.Root()
	require.NoError(t, err)
	output, err := exec.Command(filepath.Join(root, ".ci", "structure")).CombinedOutput()
	assert.NoError(t, err, "%s", output)
}
