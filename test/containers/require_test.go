package containers

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/passcode-worker/passcode-worker/test/harness"
)

func TestRequired(t *testing.T) {
	t.Parallel()

	for _, setting := range []string{"1", "true", "yes"} {
		assert.True(t, required(setting), setting)
	}
	for _, setting := range []string{"", "0", "false", "FALSE"} {
		assert.False(t, required(setting), setting)
	}
}

func TestDefaultsLeaveWhatIsSetAlone(t *testing.T) {
	t.Setenv("TESTCONTAINERS_RYUK_DISABLED", "false")
	t.Setenv("TESTCONTAINERS_HOST_OVERRIDE", "") // so that it is put back
	require.NoError(t, os.Unsetenv("TESTCONTAINERS_HOST_OVERRIDE"))

	setDefaults()
	assert.Equal(t, "false", os.Getenv("TESTCONTAINERS_RYUK_DISABLED"))
	assert.Equal(t, "127.0.0.1", os.Getenv("TESTCONTAINERS_HOST_OVERRIDE"))
}

func TestNATSImageMayBeNamed(t *testing.T) {
	t.Setenv("NATS_IMAGE", "nats:2.15")

	assert.Equal(t, "nats:2.15", NATSImage(t))
}

func TestImageTagFollowsWhatTheImageIsMadeOf(t *testing.T) {
	t.Parallel()

	root, err := harness.Root()
	require.NoError(t, err)
	parts := []string{natsParts.dockerfile, "go.mod", "go.sum"}
	tag, err := imageTag(root, parts...)
	require.NoError(t, err)
	again, err := imageTag(root, parts...)
	require.NoError(t, err)
	assert.Equal(t, tag, again)

	other := t.TempDir()
	_, err = imageTag(other, parts...)
	require.Error(t, err, "a folder that is not the repository has no image")
	require.NoError(t, os.MkdirAll(other+"/build/nats", 0o755))
	for _, name := range parts {
		require.NoError(t, os.WriteFile(other+"/"+name, []byte("x"), 0o600))
	}
	changed, err := imageTag(other, parts...)
	require.NoError(t, err)
	assert.NotEqual(t, tag, changed)
}
